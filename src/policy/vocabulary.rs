//! The words that policies may use: a Cedar schema made from the tools' input schemas.
//!
//! Each tool is an action by its canonical name; its context is its typed input and what toolgate knows of the call. The Cedar
//! project's generator makes the schema from a derived description (see `shape`); the actions are then given their dotted names and
//! put into groups: families (`repo.git`), widest effects (`effect:egress`) and scopes (`scope:drive`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};
use cedar_policy_mcp_schema_generator::{SchemaGenerator, SchemaGeneratorConfig};
use mcp_tools_sdk::description::ServerDescription;
use serde_json::{Value, json};

use super::Principals;
use super::shape::{self, Record};
use crate::call::TOOL_CALL;
use crate::domain::{Problem, Problems, Role, ToolName};
use crate::manifest::ToolDef;

/// The namespace of all types and actions.
pub(super) const NAMESPACE: &str = "toolgate";

/// Who asks, what is asked of, and what of every call is known besides its input.
const STUB: &str = r#"
namespace toolgate {
    entity Role;
    @mcp_principal("Agent") entity Agent in [Role];
    @mcp_principal("Operator") entity Operator in [Role];
    @mcp_principal("System") entity System in [Role];
    @mcp_resource("Workspace") entity Workspace;
    @mcp_context("effects") type CallEffects = Set<String>;
    @mcp_context("hosts") type CallHosts = Set<String>;
    @mcp_context("origin") type CallOrigin = String;
    @mcp_context("run") type CallRun =
        { "id": String, "step"?: String, "workflow"?: String, "untrusted": Bool, "private": Bool };
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
    /// The tools of each group, by the group's name.
    pub(super) groups: BTreeMap<String, BTreeSet<String>>,
    pub(super) roles: Roles,
    /// The type of resources: the workspace of the run that a call belongs to.
    pub(super) workspace: EntityTypeName,
    /// Scopes that tools have.
    pub(super) scopes: BTreeSet<String>,
}

/// The entity type of each kind of principal, and that of the roles they may have.
pub(super) struct Roles {
    agent: EntityTypeName,
    operator: EntityTypeName,
    system: EntityTypeName,
    pub(super) member: EntityTypeName,
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
        // No call is ever decided on under that name, so a rule that speaks of it is a mistake.
        let tools: Vec<&ToolDef> = tools.iter().filter(|tool| tool.name.as_str() != TOOL_CALL).collect();
        let tools = tools.as_slice();
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
        let groups = groups(tools);
        let json = generated(&shapes, &groups).map_err(|message| unmade("the Cedar schema cannot be made from the tools", &message))?;
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
            groups,
            roles: Roles { agent: name("Agent")?, operator: name("Operator")?, system: name("System")?, member: name("Role")? },
            workspace: name("Workspace")?,
            scopes: tools.iter().flat_map(|tool| tool.scopes.iter().cloned()).collect(),
        })
    }

    /// What rules see of principals and actions beyond their names: who has which role, which tool is in which group.
    pub(super) fn entities(&self, principals: &Principals) -> Result<Entities, Problems> {
        let mut found = Vec::new();
        let role = |word: &str| EntityUid::from_type_name_and_id(self.roles.member.clone(), EntityId::new(word));
        found.extend(principals.known().iter().map(|word| Entity::new_no_attrs(role(word), HashSet::new())));
        for (name, words) in principals.iter() {
            for kind in [Role::Agent, Role::Operator, Role::System] {
                let uid = EntityUid::from_type_name_and_id(self.roles.of(kind).clone(), EntityId::new(name));
                found.push(Entity::new(uid, HashMap::new(), words.iter().map(|word| role(word)).collect()).map_err(unmade)?);
            }
        }
        Entities::from_entities(found, Some(&self.schema)).map_err(unmade)
    }
}

fn unmade(error: impl std::fmt::Display) -> Problems {
    Problems::one(Problem::new("(policy entities)", error.to_string()))
}

/// The tools by every group they are in: each part of their names before a dot, each of their widest effects, each of their scopes.
fn groups(tools: &[&ToolDef]) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for tool in tools {
        let name = tool.name.as_str();
        let families = name.match_indices('.').filter_map(|(dot, _)| name.get(..dot)).map(str::to_owned);
        let effects = tool.effects.iter().map(|effect| format!("effect:{}", effect.as_str()));
        let scopes = tool.scopes.iter().map(|scope| format!("scope:{scope}"));
        for group in families.chain(effects).chain(scopes) {
            groups.entry(group).or_default().insert(name.to_owned());
        }
    }
    groups
}

/// The schema as JSON, with the actions under their dotted names.
fn generated(shapes: &BTreeMap<&ToolName, Record>, groups: &BTreeMap<String, BTreeSet<String>>) -> Result<Value, String> {
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
        let mut action = actions.remove(&name.exposed()).ok_or_else(|| format!("it lacks an action for `{name}`"))?;
        let own = groups.iter().filter(|(_, tools)| tools.contains(name.as_str())).map(|(group, _)| json!({ "id": group }));
        if let Some(fields) = action.as_object_mut() {
            fields.insert("memberOf".to_owned(), own.collect());
        }
        actions.insert(name.to_string(), action);
    }
    for group in groups.keys() {
        actions.entry(group.as_str()).or_insert_with(|| json!({}));
    }
    actions.sort_keys();
    Ok(json)
}
