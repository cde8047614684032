# SPDX-License-Identifier: Apache-2.0
nvidia-smi --query-gpu=name,utilization.gpu --format=csv
