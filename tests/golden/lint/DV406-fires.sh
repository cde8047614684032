# SPDX-License-Identifier: Apache-2.0
nvidia-smi -mig 1
