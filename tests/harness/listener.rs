//! One HTTP listener of the gateway, with one policy.

use std::path::Path;

use serde_json::{Value, json};

/// By default: `use_remote_address: true`, no trusted hops, `FAIL_RELOAD`, the policy as a
/// `StringValue` in the listener's own configuration.
#[derive(Clone, Debug)]
pub struct Listener {
    pub(super) name: String,
    policy: Option<String>,
    form: Form,
    pub(super) updatable: bool,
    use_remote_address: bool,
    trusted_hops: u32,
    failure_policy: &'static str,
    plugin: String,
    vm_id: String,
    address: String,
    port: u16,
    environment: Vec<String>,
}

/// How the policy stands in Envoy's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    StringValue,
    Struct,
}

impl Listener {
    pub fn new(name: &str, policy: &Value) -> Self {
        Self::with_text(name, &policy.to_string())
    }

    /// A policy as the operator typed it, which may be no JSON at all.
    pub fn with_text(name: &str, policy: &str) -> Self {
        Self {
            name: name.to_owned(),
            policy: Some(policy.to_owned()),
            form: Form::StringValue,
            updatable: false,
            use_remote_address: true,
            trusted_hops: 0,
            failure_policy: "FAIL_RELOAD",
            plugin: "keyfence".to_owned(),
            vm_id: "keyfence".to_owned(),
            address: "127.0.0.1".to_owned(),
            port: 0,
            environment: Vec::new(),
        }
    }

    /// The same listener without the filter, to compare with.
    pub fn without_filter(name: &str) -> Self {
        Self {
            policy: None,
            ..Self::with_text(name, "")
        }
    }

    /// The policy as a `Struct`, whose numbers are doubles.
    pub fn struct_form(mut self) -> Self {
        self.form = Form::Struct;
        self
    }

    /// The filter comes by ECDS from a file, which [`super::Gateway::update`] replaces.
    pub fn updatable(mut self) -> Self {
        self.updatable = true;
        self
    }

    pub fn use_remote_address(mut self, yes: bool) -> Self {
        self.use_remote_address = yes;
        self
    }

    /// Envoy's `xff_num_trusted_hops`.
    pub fn trusted_hops(mut self, hops: u32) -> Self {
        self.trusted_hops = hops;
        self
    }

    /// `FAIL_RELOAD`, `FAIL_CLOSED` or `FAIL_OPEN`.
    pub fn failure_policy(mut self, policy: &'static str) -> Self {
        self.failure_policy = policy;
        self
    }

    /// VMs with the same id share one memory and the shared data: listeners that must not see each
    /// other's rate limits take different ones.
    pub fn vm_id(mut self, id: &str) -> Self {
        self.vm_id = id.to_owned();
        self
    }

    /// The plugin's name, which tells its policies from those of another in the same VM.
    pub fn plugin(mut self, name: &str) -> Self {
        self.plugin = name.to_owned();
        self
    }

    /// The address to listen on; `::` for all, of IPv4 too.
    pub fn bind(mut self, address: &str) -> Self {
        self.address = address.to_owned();
        self
    }

    /// The port to listen on, which is otherwise any that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Lets the VM see a variable of Envoy's environment, which [`super::gateway::Setup::environment`] sets.
    pub fn host_env_key(mut self, name: &str) -> Self {
        self.environment.push(name.to_owned());
        self
    }

    pub(super) fn with_policy(mut self, policy: &str) -> Self {
        self.policy = Some(policy.to_owned());
        self
    }

    /// The listener as Envoy's configuration has it.
    pub(super) fn to_json(&self, wasm: &Path, directory: &Path) -> Value {
        let mut filters = Vec::new();
        if self.updatable {
            filters.push(json!({
                "name": "keyfence",
                "config_discovery": {
                    "config_source": {"path_config_source": {
                        "path": self.resource_path(directory),
                        "watched_directory": {"path": directory},
                    }},
                    "type_urls": [WASM_TYPE],
                },
            }));
        } else if let Some(filter) = self.filter(wasm) {
            filters.push(json!({"name": "keyfence", "typed_config": filter}));
        }
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }));
        json!({
            "name": self.name,
            "address": {"socket_address": {
                "address": self.address,
                "port_value": self.port,
                "ipv4_compat": self.address == "::",
            }},
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": self.name,
                    "use_remote_address": self.use_remote_address,
                    "xff_num_trusted_hops": self.trusted_hops,
                    "http_filters": filters,
                    "route_config": {"virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [
                            {"match": {"path": "/redirect"}, "redirect": {"path_redirect": "/elsewhere"}},
                            {"match": {"path": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "direct\n"}}},
                            {"match": {"path": "/dead"}, "route": {"cluster": "dead"}},
                            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
                        ],
                    }]},
                    "access_log": [{
                        "name": "envoy.access_loggers.file",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                            "path": directory.join("access.log"),
                            "log_format": {"json_format": {
                                "listener": self.name,
                                "method": "%REQ(:METHOD)%",
                                "path": "%PATH(NQ)%",
                                "status": "%RESPONSE_CODE%",
                                "details": "%RESPONSE_CODE_DETAILS%",
                                "key_id": "%FILTER_STATE(wasm.keyfence.key_id:PLAIN)%",
                                "key_label": "%FILTER_STATE(wasm.keyfence.key_label:PLAIN)%",
                                "subject": "%FILTER_STATE(wasm.keyfence.subject:PLAIN)%",
                                "decision": "%FILTER_STATE(wasm.keyfence.decision:PLAIN)%",
                                "request_id": "%REQ(X-REQUEST-ID)%",
                                "address": "%DOWNSTREAM_REMOTE_ADDRESS%",
                            }},
                        },
                    }],
                },
            }]}],
        })
    }

    /// The `Wasm` message that configures the filter.
    fn filter(&self, wasm: &Path) -> Option<Value> {
        let policy = self.policy.as_ref()?;
        let configuration = match self.form {
            Form::StringValue => {
                json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy})
            }
            Form::Struct => {
                let value: Value = serde_json::from_str(policy).unwrap();
                json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": value})
            }
        };
        let mut vm = json!({
            "vm_id": self.vm_id,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": wasm}},
        });
        if !self.environment.is_empty() {
            vm["environment_variables"] = json!({"host_env_keys": self.environment});
        }
        Some(json!({
            "@type": WASM_TYPE,
            "config": {
                "name": self.plugin,
                "root_id": "keyfence",
                "vm_config": vm,
                "failure_policy": self.failure_policy,
                "configuration": configuration,
            },
        }))
    }

    pub(super) fn resource_path(&self, directory: &Path) -> std::path::PathBuf {
        directory.join(format!("{}.ecds.json", self.name))
    }

    /// Puts the filter's ECDS resource in place by a move, which is what Envoy watches for.
    pub(super) fn write_resource(&self, wasm: &Path, directory: &Path) {
        let resource = json!({"resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "keyfence",
            "typed_config": self.filter(wasm),
        }]});
        let path = self.resource_path(directory);
        let new = path.with_extension("new");
        std::fs::write(&new, resource.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
