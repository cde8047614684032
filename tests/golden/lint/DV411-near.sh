# SPDX-License-Identifier: Apache-2.0
echo get_default_active_thread_percentage | nvidia-cuda-mps-control
