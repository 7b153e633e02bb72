// Package errors has the type of errors that nobody meets.
package errors

// TencentCloudSDKError is an answer of the cloud's.
type TencentCloudSDKError struct{ Message string }

func (e *TencentCloudSDKError) Error() string { return e.Message }
