//! `sfkey token`: print an access token.

use sfkey::{
    Error,
    proto::v1::{GetTokenRequest, Token},
};

use super::{
    Invocation,
    load::{self, Prompting},
};
use crate::{
    cli::TokenArgs,
    exit::{Cause, Failure},
    output::{Output, Shell, TokenFormat},
};

/// What takes its time when a command does.
const WAITING: &str = "Waiting for Salesforce";

pub(super) async fn run(invocation: &Invocation<'_>, args: TokenArgs) -> Result<(), Failure> {
    let format = format(args.output, invocation.output.is_json())?;
    let shell = shell(args.shell, format)?;
    if !args.show && Output::is_terminal() {
        return Err(would_stay_on_the_screen("sfkey token -o header | curl -H @- …"));
    }
    let account = invocation.account(args.name.as_ref())?;
    let token = match args.rejected {
        None => {
            let request = GetTokenRequest {
                account,
                min_valid_seconds: Some(args.min_valid),
                fresh: args.fresh,
            };
            obtain(invocation, request, !args.no_load).await?
        }
        Some(place) => report(invocation, &account, &place.read()?, !args.no_load).await?,
    };
    invocation.output.token(&token, format, shell)
}

/// Gets a token from the agent, and loads the account when the agent does not have it and `may_load`.
/// No file is read unless that happens.
pub(super) async fn obtain(
    invocation: &Invocation<'_>,
    mut request: GetTokenRequest,
    may_load: bool,
) -> Result<Token, Failure> {
    let agent = invocation.connect().await?;
    let output = invocation.output;
    let asked = agent.request_token(request.clone());
    match output.patiently(WAITING, asked).await {
        Err(Error::Refused(refusal)) if may_load && load::is_missing(&refusal) => {
            let named = std::mem::take(&mut request.account);
            let (agent, loaded) =
                load::on_demand(invocation, &agent, &named, refusal, Prompting::Allowed).await?;
            request.account = loaded.to_string();
            Ok(output.patiently(WAITING, agent.request_token(request)).await?)
        }
        answer => Ok(answer?),
    }
}

/// Reports a refused token and gets the next one. An agent that lost the account is given it again: it was
/// started anew since the token was got.
async fn report(
    invocation: &Invocation<'_>,
    account: &str,
    rejected: &[u8],
    may_load: bool,
) -> Result<Token, Failure> {
    let agent = invocation.connect().await?;
    let reported = agent.report_rejected(account, rejected);
    match invocation.output.patiently(WAITING, reported).await {
        Err(Error::Refused(refusal)) if may_load && load::is_missing(&refusal) => {
            let (agent, loaded) =
                load::on_demand(invocation, &agent, account, refusal, Prompting::Allowed).await?;
            Ok(agent.report_rejected(loaded.as_str(), rejected).await?)
        }
        answer => Ok(answer?),
    }
}

/// `--json` is `-o json`; with another form it contradicts.
pub(super) fn format(output: TokenFormat, json: bool) -> Result<TokenFormat, Failure> {
    match (output, json) {
        (output, false) => Ok(output),
        (TokenFormat::Token | TokenFormat::Json, true) => Ok(TokenFormat::Json),
        (_, true) => Err(Failure::new(
            Cause::Usage,
            "--json and another form of output contradict each other",
            "give one of them: --json, or -o env, or -o header",
        )),
    }
}

/// Only variables are written for a shell.
fn shell(shell: Option<Shell>, format: TokenFormat) -> Result<Shell, Failure> {
    match shell {
        Some(_) if format != TokenFormat::Env => Err(Failure::new(
            Cause::Usage,
            "--shell says how variables are written, and none are asked for",
            "sfkey token -o env --shell …",
        )),
        shell => Ok(shell.unwrap_or_default()),
    }
}

/// A terminal is no place for a token; `instead` is a line that passes it on.
pub(super) fn would_stay_on_the_screen(instead: &str) -> Failure {
    Failure::new(
        Cause::Usage,
        "standard output is a terminal, where the token would stay to be seen",
        format!("pass it on: {instead}   (or show it all the same: --show)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_form_and_no_other() {
        use TokenFormat::{Curl, Dotenv, Env, Header, Json, Sf, Token};
        for plain in [Token, Json, Env, Header, Curl, Dotenv, Sf] {
            assert_eq!(format(plain, false).expect("as it is"), plain);
        }
        assert_eq!(format(Token, true).expect("JSON"), Json);
        assert_eq!(format(Json, true).expect("JSON"), Json);
        for other in [Env, Header, Curl, Dotenv, Sf] {
            assert!(format(other, true).is_err());
        }
        assert_eq!(shell(None, Token).expect("none"), Shell::Sh);
        assert_eq!(shell(Some(Shell::Fish), Env).expect("fish"), Shell::Fish);
        assert!(shell(Some(Shell::Sh), Header).is_err());
    }
}
