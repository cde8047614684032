# SPDX-License-Identifier: Apache-2.0
echo "set_default_device_pinned_mem_limit 0 8G" | nvidia-cuda-mps-control
