//! Compiles the `.proto` files with protox (pure Rust: no system `protoc` is needed).

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "address", "ask", "code", "drive", "group", "link", "page", "relay", "share", "ticket",
    ]
    .map(|name| format!("proto/hither/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]).compile_fds(descriptors)?;
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    Ok(())
}
