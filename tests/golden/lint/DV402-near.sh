# SPDX-License-Identifier: Apache-2.0
nvidia-smi -i 0 -c EXCLUSIVE_PROCESS
