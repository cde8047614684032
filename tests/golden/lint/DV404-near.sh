# SPDX-License-Identifier: Apache-2.0
nvidia-smi mig -i 0 -dci -gi 3 -ci 0
nvidia-smi mig -i 0 -dgi -gi 3
