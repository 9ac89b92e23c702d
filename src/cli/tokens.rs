//! `tokens`: who may come in over HTTP, and how far.
//!
//! INVARIANT: a value is printed once, to standard output, by the verb that made it; nothing else prints one.

use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::domain::Scopes;
use crate::secrets::operator::{Operator, OperatorProof};
use crate::secrets::tokens::{TokenState, TokenView, Wanted};

use super::args::{End, PassphraseFrom, Tokens, TokensCreate};
use super::exit::{Ending, Exit, Stop};
use super::output::Table;
use super::start::Cx;
use super::text::ago;

pub(super) async fn run(args: &Tokens, cx: &Cx<'_>) -> Ending {
    match args {
        Tokens::Create(args) => create(args, cx).await,
        Tokens::List { all, json } => list(*all, json.json, cx).await,
        Tokens::Revoke { name, from, json } => {
            let tokens = cx.house.tokens()?;
            let taken = tokens.revoke(name, &prove(*from, cx)?).await?;
            if json.json {
                cx.desk.console.json(&taken)?;
            } else {
                cx.desk.console.line(&format!("revoked {}: its bearer, {}, is out", taken.name, taken.principal))?;
            }
            Ok(Exit::Ok)
        }
    }
}

fn prove(from: PassphraseFrom, cx: &Cx<'_>) -> Result<OperatorProof, Stop> {
    let operator = Operator::of_home(&cx.config.home.value, cx.desk.clock.clone());
    Ok(operator.prove(cx.desk.asks(from).as_ref())?)
}

async fn create(args: &TokensCreate, cx: &Cx<'_>) -> Ending {
    if let Some(toolsets) = &args.toolsets {
        cx.house.check_toolsets(toolsets)?;
    }
    let expires = match args.expires {
        End::After(span) => Some(cx.desk.clock.now().plus(span)),
        End::At(time) => Some(time),
        End::Never => None,
    };
    let wanted = Wanted {
        name: args.name.clone(),
        principal: args.principal.clone(),
        scopes: Scopes::of(args.scopes.iter().copied()),
        toolsets: args.toolsets.clone(),
        expires,
    };
    let tokens = cx.house.tokens()?;
    let (value, made) = tokens.create(wanted, &prove(args.from, cx)?).await?;
    let console = &cx.desk.console;
    if args.json.json {
        let mut shown = json!(made);
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("token".to_owned(), value.expose_secret().into());
        }
        console.once(&shown.to_string())?;
    } else {
        console.once(value.expose_secret())?;
        let until = made.expires.map_or_else(|| "for good".to_owned(), |time| format!("until {time}"));
        console.tell(&format!(
            "That is the token `{}`: {}, as {}, {until}. It is not shown again; send it as `Authorization: Bearer`.\n",
            made.name, made.scopes, made.principal
        ));
    }
    Ok(Exit::Ok)
}

async fn list(all: bool, json: bool, cx: &Cx<'_>) -> Ending {
    let mut tokens = cx.house.tokens()?.list().await?;
    tokens.retain(|token| all || token.state != TokenState::Revoked);
    let console = &cx.desk.console;
    if json {
        console.json(&tokens)?;
        return Ok(Exit::Ok);
    }
    if tokens.is_empty() {
        console.tell("no token was made; the home's own is in http.token\n");
        return Ok(Exit::Ok);
    }
    let now = cx.desk.clock.now();
    let mut table = Table::new(&["NAME", "PRINCIPAL", "SCOPES", "TOOLSETS", "MADE", "EXPIRES", "STATE"]);
    for token in &tokens {
        let TokenView { name, principal, scopes, toolsets, created, expires, state, .. } = token;
        let toolsets = toolsets.as_ref().map_or_else(|| "server's".to_owned(), |sets| sets.join(","));
        let expires = expires.map_or_else(|| "never".to_owned(), |time| time.to_string());
        let state = match state {
            TokenState::Good => "good",
            TokenState::Expired => "expired",
            TokenState::Revoked => "revoked",
        };
        table.row([name, principal.as_str(), &scopes.to_string(), &toolsets, &ago(*created, now), &expires, state]);
    }
    console.table(&table)?;
    Ok(Exit::Ok)
}
