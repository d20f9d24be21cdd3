//! Compiles the interface's definitions with protox, so that no machine needs protoc.

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files = protox::compile(["v1.proto", "v1alpha2.proto"], ["proto"])?;
    strings_as_bytes(&mut files);
    // castoff makes calls with `Call` of src/lib.rs; the servers are for test doubles.
    let server = std::env::var_os("CARGO_FEATURE_SERVER").is_some();
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(server)
        .compile_fds(files)?;
    Ok(())
}

/// Changes strings to bytes. They are the same on the wire, but a decoder refuses a whole message for one string that
/// is not UTF-8, and runtimes that use gogo/protobuf send such strings: one hostile name would hide every container of
/// the node.
fn strings_as_bytes(files: &mut FileDescriptorSet) {
    files
        .file
        .iter_mut()
        .for_each(|file| in_messages(&mut file.message_type));
}

fn in_messages(messages: &mut [DescriptorProto]) {
    for message in messages {
        for field in &mut message.field {
            if field.r#type() == Type::String {
                field.set_type(Type::Bytes);
            }
        }
        in_messages(&mut message.nested_type);
    }
}
