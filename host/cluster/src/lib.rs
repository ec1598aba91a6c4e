//! From a kubeconfig to a target of load.
