// SPDX-License-Identifier: Apache-2.0

//go:build programs

// Package programs names the programs that are built from this module, for `go mod tidy`.
package programs

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
