# SPDX-License-Identifier: Apache-2.0
nvidia-cuda-mps-control <<EOF
set_default_device_pinned_mem_limit 0 8G
EOF
