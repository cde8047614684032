# SPDX-License-Identifier: Apache-2.0
nvidia-smi --query-gpu=name,utilisation.gpu --format=csv
