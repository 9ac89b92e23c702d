//! The words that policies may use: a Cedar schema made from the tools' input schemas.
//!
//! Each tool is an action by its canonical name; its context is its typed input and what toolgate knows of the call. The Cedar
//! project's generator makes the schema from a derived description (see `shape`); the actions are then given their dotted names.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};
use cedar_policy_mcp_schema_generator::{SchemaGenerator, SchemaGeneratorConfig};
use mcp_tools_sdk::description::ServerDescription;
use serde_json::{Value, json};

use super::shape::{self, Record};
use crate::domain::{Problem, Problems, Role, ToolName};
use crate::manifest::ToolDef;

/// The namespace of all types and actions.
pub(super) const NAMESPACE: &str = "toolgate";

/// Who asks, what is asked of, and what of every call is known besides its input.
const STUB: &str = r#"
namespace toolgate {
    @mcp_principal("Agent") entity Agent;
    @mcp_principal("Operator") entity Operator;
    @mcp_principal("System") entity System;
    @mcp_resource("Gate") entity Gate;
    @mcp_context("effects") type CallEffects = Set<String>;
    @mcp_context("origin") type CallOrigin = String;
    @mcp_context("run") type CallRun = { "id": String, "step"?: String };
    @mcp_context("scopes") type CallScopes = Set<String>;
}
"#;

/// A tool as policy sees it.
pub(super) struct Word {
    pub(super) action: EntityUid,
    pub(super) input: Record,
    pub(super) scopes: RestrictedExpression,
}

/// All words.
pub(super) struct Vocabulary {
    pub(super) schema: Schema,
    /// The schema as text, for digests and for people.
    pub(super) text: String,
    pub(super) tools: BTreeMap<ToolName, Word>,
    pub(super) roles: Roles,
    pub(super) gate: EntityUid,
}

/// The entity type of each role.
pub(super) struct Roles {
    agent: EntityTypeName,
    operator: EntityTypeName,
    system: EntityTypeName,
}

impl Roles {
    pub(super) fn of(&self, role: Role) -> &EntityTypeName {
        match role {
            Role::Agent => &self.agent,
            Role::Operator => &self.operator,
            Role::System => &self.system,
        }
    }

    pub(super) fn role(&self, name: &EntityTypeName) -> Option<Role> {
        [Role::Agent, Role::Operator, Role::System].into_iter().find(|role| self.of(*role) == name)
    }
}

impl Vocabulary {
    /// Makes the schema.
    pub(super) fn of(tools: &[ToolDef]) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut exposed = BTreeMap::new();
        for tool in tools {
            if let Some(other) = exposed.insert(tool.name.exposed(), &tool.name) {
                problems.push(
                    Problem::new(&tool.file, format!("tools `{other}` and `{}` have the same exposed name", tool.name)).hint("rename one"),
                );
            }
        }
        Problems::check(problems)?;
        let shapes: BTreeMap<&ToolName, Record> = tools.iter().map(|tool| (&tool.name, shape::of_input(tool.input.json()))).collect();
        let unmade = |what: &str, error: &dyn std::fmt::Display| Problems::one(Problem::new("(policy schema)", format!("{what}: {error}")));
        let json = generated(&shapes).map_err(|message| unmade("the Cedar schema cannot be made from the tools", &message))?;
        let text = json.to_string();
        let schema = Schema::from_json_value(json).map_err(|error| unmade("the Cedar schema is wrong", &error))?;
        let name =
            |word: &str| EntityTypeName::from_str(&format!("{NAMESPACE}::{word}")).map_err(|error| unmade("a type has no name", &error));
        let action = name("Action")?;
        let words = tools.iter().map(|tool| {
            let scopes = tool.scopes.iter().map(|scope| RestrictedExpression::new_string(scope.clone()));
            let word = Word {
                action: EntityUid::from_type_name_and_id(action.clone(), EntityId::new(tool.name.as_str())),
                input: shapes.get(&tool.name).cloned().unwrap_or_default(),
                scopes: RestrictedExpression::new_set(scopes),
            };
            (tool.name.clone(), word)
        });
        Ok(Self {
            schema,
            text,
            tools: words.collect(),
            roles: Roles { agent: name("Agent")?, operator: name("Operator")?, system: name("System")? },
            gate: EntityUid::from_type_name_and_id(name("Gate")?, EntityId::new("toolgate")),
        })
    }
}

/// The schema as JSON, with the actions under their dotted names.
fn generated(shapes: &BTreeMap<&ToolName, Record>) -> Result<Value, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let descriptions: Vec<Value> =
        shapes.iter().map(|(name, record)| json!({ "name": name.exposed(), "inputSchema": shape::described(record) })).collect();
    let description = ServerDescription::from_json_str(&Value::Array(descriptions).to_string()).map_err(|error| told(&error))?;
    let config = SchemaGeneratorConfig::default().objects_as_records(true);
    let mut generator = SchemaGenerator::from_cedarschema_str_with_config(STUB, config).map_err(|error| told(&error))?;
    generator.add_actions_from_server_description(&description).map_err(|error| told(&error))?;
    // As JSON and not as text: reading the text back would be most of the time that loading takes.
    let mut json = serde_json::to_value(generator.get_schema()).map_err(|error| told(&error))?;
    let actions = json.pointer_mut(&format!("/{NAMESPACE}/actions")).and_then(Value::as_object_mut).ok_or("it has no actions")?;
    for name in shapes.keys() {
        let action = actions.remove(&name.exposed()).ok_or_else(|| format!("it lacks an action for `{name}`"))?;
        actions.insert(name.to_string(), action);
    }
    actions.sort_keys();
    Ok(json)
}
