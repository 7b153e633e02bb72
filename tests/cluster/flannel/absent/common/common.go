// Package common stands for a cloud's client that is not there.
package common

// StringPtr points to a word.
func StringPtr(word string) *string { return &word }

// StringPtrs points to each word.
func StringPtrs(words []string) []*string {
	all := make([]*string, len(words))
	for i := range words {
		all[i] = &words[i]
	}
	return all
}

// BoolPtr points to a truth.
func BoolPtr(truth bool) *bool { return &truth }
