# SPDX-License-Identifier: Apache-2.0
kubectl label node n1 nvidia.com/mig.config=all-balanced --overwrite
