//! Scheduling: does a pod fit a node, as kube-scheduler would say.
