# SPDX-License-Identifier: Apache-2.0
nvidia-smi -i 0 mig -lgi
