//! Compiles the `.proto` file with protox (pure Rust: no system `protoc` is needed).

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "proto/node.proto";
    let descriptors = protox::compile([file], ["proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed={file}");
    Ok(())
}
