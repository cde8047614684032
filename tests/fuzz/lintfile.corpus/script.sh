#!/bin/sh
for i in 1 2; do
  X=$(nvidia-smi -i $i -mig 1 | grep "a b" 2>/dev/null)
cat <<-E | kubectl apply -f -
	apiVersion: v1
	kind: Pod
	E
done
echo "set_default_active_thread_percentage 25\nquit" | nvidia-cuda-mps-control
kubectl exec p -- sh -c 'nvidia-smi mig -cgi 19,"9" -C' `date`
helm install o nvidia/gpu-operator --set a=b,mig.strategy=mixed
