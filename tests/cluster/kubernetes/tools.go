//go:build tools

// Package kubernetes keeps upstream's end-to-end tests, which are built with `go test -c`, among the dependencies.
package kubernetes

import _ "k8s.io/kubernetes/test/e2e"
