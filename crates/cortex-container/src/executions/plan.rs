//! From a command to a container: the tool is looked up, its image is there, its limits are known.

use bytes::Bytes;
use cortex_core::ExecutionId;
use cortex_rpc::CallContext;

use super::Executions;
use crate::{
    error::ContainerError,
    images::Recipe,
    ports::LabelMap,
    sandbox::{ContainerSpec, Owner},
    tool::{Limits, Network, Parameters, ToolCommand, ToolDeclaration},
};

/// What a run does, before it has an execution.
#[derive(Debug)]
pub(super) struct Plan {
    tenant: String,
    session_id: String,
    tool: String,
    recipe: Recipe,
    limits: Limits,
    environment: LabelMap,
    parameters: Parameters,
}

impl Executions {
    /// Plans a run. Everything that can be wrong with a tool is found here, before it is claimed.
    pub(super) async fn plan(
        &self,
        cx: &CallContext,
        command: &ToolCommand,
    ) -> Result<Plan, ContainerError> {
        let declared = self.declaration(cx, command).await?;
        if command.network.unwrap_or(declared.network) == Network::Session {
            return Err(ContainerError::NoSessionNetwork);
        }
        let recipe = self.images.recipe(cx, &command.tool, &declared.source).await?;
        Ok(Plan {
            tenant: cx.identity.tenant().to_owned(),
            session_id: command.session_id.as_str().to_owned(),
            tool: command.tool.as_str().to_owned(),
            recipe,
            limits: command.limits.or(declared.limits).resolve(&self.config.limits),
            environment: environment(command, &declared),
            parameters: command.parameters.clone(),
        })
    }

    /// The tool as the request gives it, else as its manifest declares it.
    async fn declaration(
        &self,
        cx: &CallContext,
        command: &ToolCommand,
    ) -> Result<ToolDeclaration, ContainerError> {
        match &command.source {
            Some(source) => Ok(ToolDeclaration {
                source: source.clone(),
                limits: Default::default(),
                environment: LabelMap::new(),
                network: Network::None,
            }),
            None => {
                let name = command.tool.as_str();
                self.registry.tool(cx, name, &command.closure_digest).await
            }
        }
    }
}

/// The tool's variables: defaults, then its manifest's, then the request's, then what the contract
/// says. What fits no variable is given on standard input alone.
fn environment(command: &ToolCommand, declared: &ToolDeclaration) -> LabelMap {
    let mut environment = LabelMap::from([
        ("HOME".to_owned(), "/tmp".to_owned()),
        ("TMPDIR".to_owned(), "/tmp".to_owned()),
    ]);
    let reserved = |name: &str| name.starts_with("CORTEX_") || name == "PARAMETERS";
    let given = declared.environment.iter().chain(&command.environment);
    environment.extend(
        given
            .filter(|(name, _)| !reserved(name))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    environment.insert("TOOL_NAME".to_owned(), command.tool.as_str().to_owned());
    environment.insert("SESSION_ID".to_owned(), command.session_id.as_str().to_owned());
    if let Some(parameters) = command.parameters.as_argument() {
        environment.insert("PARAMETERS".to_owned(), parameters.to_owned());
    }
    environment
}

impl Plan {
    /// The container for `execution_id`.
    pub(super) fn spec(
        &self,
        executions: &Executions,
        execution_id: &ExecutionId,
    ) -> ContainerSpec {
        let owner = Owner {
            incarnation: &executions.incarnation,
            tenant: &self.tenant,
            session_id: &self.session_id,
            tool: &self.tool,
            execution_id,
        };
        ContainerSpec {
            name: owner.container_name(),
            image: self.recipe.image.clone(),
            entrypoint: self.recipe.entrypoint.clone(),
            arguments: self.parameters.as_argument().map(str::to_owned).into_iter().collect(),
            environment: self.environment.clone(),
            labels: owner.labels(),
            limits: self.limits,
        }
    }

    /// What the tool reads on standard input.
    pub(super) fn input(&self) -> Bytes {
        Bytes::from(self.parameters.as_str().to_owned())
    }
}
