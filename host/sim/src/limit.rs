//! Where the simulator knowingly differs from kube-apiserver; its help prints these, and the conformance cases that
//! meet one name it.

/// What it does not write.
pub const PROTOBUF: &str = "Answers are never protobuf (JSON where the client takes it too, else 406); protobuf bodies are read for the kinds that kubectl creates with typed clients, others are 415.";
/// What it does not check.
pub const SCHEMAS: &str = "There are no schemas: unknown fields are kept, fieldValidation is not acted on, and validation is limited to names, identity and the fields most often missed.";
/// What it does not remember.
pub const MANAGED_FIELDS: &str =
    "managedFields record appliers only, so an update never conflicts with a later apply.";
/// What it does not wait for.
pub const FOREGROUND: &str = "Foreground deletion works as background deletion.";
/// Whom it does not ask.
pub const ADMISSION: &str =
    "No admission, and no authorisation beyond an administrator and system:anonymous.";
/// What its controllers do not do.
pub const CONTROLLERS: &str = "Its controllers know nothing of minReadySeconds, PodDisruptionBudgets, volume claims of StatefulSets, preferred affinity, spreading and priorities; they adopt no orphans, and there are none for ReplicationControllers, CronJobs, HorizontalPodAutoscalers and endpoints.";
/// What of KubeVirt is not there.
pub const KUBEVIRT: &str = "Of KubeVirt (kubevirt=true) there are VirtualMachines, their instances and replica sets, without schemas, webhooks, migrations and the API of subresources.kubevirt.io.";

/// All of them.
pub const ALL: &[&str] = &[
    PROTOBUF,
    SCHEMAS,
    MANAGED_FIELDS,
    FOREGROUND,
    ADMISSION,
    CONTROLLERS,
    KUBEVIRT,
];
