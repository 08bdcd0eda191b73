//! Compiles the contract with protox, so that no protoc binary is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

/// Messages that carry a secret: their Debug is written by hand in `redact.rs`.
const SECRET: [&str; 4] = [
    ".sfkey.agent.v1.Token",
    ".sfkey.agent.v1.AccountSpec",
    ".sfkey.agent.v1.LockSpec",
    ".sfkey.agent.v1.UnlockSpec",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=sfkey");
    let descriptors = protox::compile(
        ["sfkey/agent/v1/token.proto", "sfkey/agent/v1/agent.proto"],
        ["."],
    )?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("sfkey.agent.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .skip_debug(SECRET)
        .compile_fds(descriptors)?;
    Ok(())
}
