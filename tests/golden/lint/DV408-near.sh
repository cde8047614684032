# SPDX-License-Identifier: Apache-2.0
nvidia-smi mig -i 0 -lgi
nvidia-smi -q -f mig
