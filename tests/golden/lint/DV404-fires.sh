# SPDX-License-Identifier: Apache-2.0
nvidia-smi mig -i 0 -dci
nvidia-smi mig -i 0 -dgi
