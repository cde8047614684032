# SPDX-License-Identifier: Apache-2.0
nvidia-smi -L
kubectl top pods
