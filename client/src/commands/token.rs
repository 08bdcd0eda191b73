//! `sfkey token`: print an access token.

use sfkey::{
    Error,
    proto::{
        Reason,
        v1::{GetTokenRequest, Token},
    },
};

use super::{Invocation, load};
use crate::{
    cli::TokenArgs,
    exit::{Cause, Failure},
    output::{Output, TokenFormat},
};

pub(super) async fn run(invocation: &Invocation<'_>, args: TokenArgs) -> Result<(), Failure> {
    let format = format(args.output, invocation.output.is_json())?;
    if !args.show && Output::is_terminal() {
        return Err(would_stay_on_the_screen());
    }
    let request = GetTokenRequest {
        account: invocation.account(args.name.as_ref())?,
        min_valid_seconds: Some(args.min_valid),
        fresh: args.fresh,
    };
    let token = obtain(invocation, request, !args.no_load).await?;
    invocation.output.token(&token, format)
}

/// Gets a token from the agent, and loads the account when the agent does not have it and `may_load`.
/// No file is read unless that happens.
pub(super) async fn obtain(
    invocation: &Invocation<'_>,
    request: GetTokenRequest,
    may_load: bool,
) -> Result<Token, Failure> {
    let agent = invocation.connect().await?;
    match agent.request_token(request.clone()).await {
        Err(Error::Refused(refusal))
            if may_load
                && matches!(
                    refusal.reason,
                    Reason::AccountNotLoaded | Reason::NoDefaultAccount
                ) =>
        {
            load::on_demand(invocation, &agent, request, refusal).await
        }
        answer => Ok(answer?),
    }
}

/// `--json` is `-o json`; with another form it contradicts.
fn format(output: TokenFormat, json: bool) -> Result<TokenFormat, Failure> {
    match (output, json) {
        (output, false) => Ok(output),
        (TokenFormat::Token | TokenFormat::Json, true) => Ok(TokenFormat::Json),
        (TokenFormat::Env | TokenFormat::Header, true) => Err(Failure::new(
            Cause::Usage,
            "--json and another form of output contradict each other",
            "give one of them: --json, or -o env, or -o header",
        )),
    }
}

fn would_stay_on_the_screen() -> Failure {
    Failure::new(
        Cause::Usage,
        "standard output is a terminal, where the token would stay to be seen",
        "pass it on: curl -H \"$(sfkey token -o header)\" …, or show it all the same: --show",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_form_and_no_other() {
        use TokenFormat::{Env, Header, Json, Token};
        for plain in [Token, Json, Env, Header] {
            assert_eq!(format(plain, false).expect("as it is"), plain);
        }
        assert_eq!(format(Token, true).expect("JSON"), Json);
        assert_eq!(format(Json, true).expect("JSON"), Json);
        assert!(format(Env, true).is_err() && format(Header, true).is_err());
    }
}
