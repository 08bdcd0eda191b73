//! Asks the org that `sfkey exec` names in the environment a SOQL query, and prints the answer's JSON:
//! `sfkey exec NAME -- query "SELECT Id, Name FROM Account"`.

use std::{
    env,
    io::{self, Write as _},
};

use anyhow::Context as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let query = env::args().nth(1).context("usage: query SOQL")?;
    let instance = env::var("SF_ORG_INSTANCE_URL").context("run it through `sfkey exec`")?;
    let token = env::var("SF_ACCESS_TOKEN").context("run it through `sfkey exec`")?;
    let mut url = url::Url::parse(&instance)?.join("/services/data/v64.0/query")?;
    url.query_pairs_mut().append_pair("q", &query);
    let answer = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()?
        .get(url)
        .bearer_auth(token)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    writeln!(io::stdout(), "{answer}")?;
    Ok(())
}
