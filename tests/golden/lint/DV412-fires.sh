# SPDX-License-Identifier: Apache-2.0
echo "set_memory_limit 0 8G" | nvidia-cuda-mps-control
