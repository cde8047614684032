# SPDX-License-Identifier: Apache-2.0
nvidia-cuda-mps-control -get active_thread_percentage
