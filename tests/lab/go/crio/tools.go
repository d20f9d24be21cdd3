//go:build tools

// Package crio pins CRI-O, to be built as the runtime of a test.
package crio

import _ "github.com/cri-o/cri-o/cmd/crio"
