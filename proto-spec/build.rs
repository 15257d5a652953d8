//! Compiles the `.proto` files with protox (pure Rust: no system `protoc` is needed).

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/hither/v1/link.proto", "proto/hither/v1/share.proto", "proto/hither/v1/ticket.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]).compile_fds(descriptors)?;
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    Ok(())
}
