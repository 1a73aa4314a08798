//! The flags that several commands share. Each one overrides a key of the configuration.

use clap::Args;

use super::{Device, Engine, Overrides, Precision, Roles};

/// Of commands that run engines, at one precision or several of their own.
#[derive(Clone, Debug, Args)]
pub struct WorkerFlags {
    /// What computes [default: cpu]
    #[arg(long)]
    engine: Option<Engine>,
    /// Where it computes: auto, cpu, cuda:0 and so on, or cuda:all [default: auto]
    #[arg(long)]
    device: Option<Device>,
    /// Worker threads, each with an engine of its own; 0 is one for each core, or two for each GPU [default: 0]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// Of commands that run engines at one precision.
#[derive(Clone, Debug, Args)]
pub struct EngineFlags {
    #[command(flatten)]
    workers: WorkerFlags,
    /// Number format of the matrix products [default: auto]
    #[arg(long)]
    precision: Option<Precision>,
}

/// Of commands that serve, or would.
#[derive(Clone, Debug, Args)]
pub struct ServerFlags {
    /// Address and port of REST and gRPC [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Services of this process: all, or gateway and some of inference, recommendation, tracking, content, users,
    /// analytics, trainer; the section [upstreams] of the configuration says where the others are [default: all]
    #[arg(long, value_name = "ROLE,...")]
    roles: Option<Roles>,
    #[command(flatten)]
    engines: EngineFlags,
}

impl WorkerFlags {
    /// The keys they set.
    pub fn overrides(&self) -> Overrides {
        Overrides { engine: self.engine, device: self.device, workers: self.workers, ..Overrides::default() }
    }
}

impl EngineFlags {
    /// The keys they set.
    pub fn overrides(&self) -> Overrides {
        Overrides { precision: self.precision, ..self.workers.overrides() }
    }
}

impl ServerFlags {
    /// The keys they set.
    pub fn overrides(&self) -> Overrides {
        Overrides { listen: self.listen.clone(), roles: self.roles.clone(), ..self.engines.overrides() }
    }
}

#[cfg(test)]
mod tests {
    use attune_gateway::Role;

    use super::*;

    #[test]
    fn help_names_every_role() {
        let help = ServerFlags::augment_args(clap::Command::new("serve")).render_long_help().to_string();
        let words: Vec<&str> = help.split(|c: char| !c.is_alphanumeric()).collect();
        for role in Role::ALL {
            assert!(words.contains(&role.name()), "{role} is not in:\n{help}");
        }
    }
}
