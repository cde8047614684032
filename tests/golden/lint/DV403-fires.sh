# SPDX-License-Identifier: Apache-2.0
nvidia-smi mig -i 0 -cgi 3g.20gb
