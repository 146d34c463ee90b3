//! The image of the plugin, as Istio and Envoy Gateway take it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::gateway::{built_filter, repository};

#[test]
#[ignore = "takes a Docker engine: make test-compose"]
fn two_builds_are_the_same_bytes_and_hold_the_filter_alone() {
    let directory = TempDir::new().unwrap();
    let archives: Vec<Vec<u8>> = ["first", "second"]
        .iter()
        .map(|name| {
            // Another file, and another time of change.
            let wasm = directory.path().join(format!("{name}.wasm"));
            fs::copy(built_filter(), &wasm).unwrap();
            let archive = directory.path().join(format!("{name}.tar"));
            build(&wasm, &archive);
            fs::read(archive).unwrap()
        })
        .collect();
    assert!(archives[0] == archives[1], "two builds differ");

    let unpack = |archive: &Path| {
        let into = archive.with_extension("unpacked");
        fs::create_dir(&into).unwrap();
        run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&into));
        into
    };
    let image = unpack(&directory.path().join("first.tar"));
    let manifest: Value = serde_json::from_slice(&fs::read(image.join("manifest.json")).unwrap()).unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1, "{manifest}");
    let layer = unpack(&image.join(layers[0].as_str().unwrap()));
    let files: Vec<_> = fs::read_dir(&layer)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(files, ["plugin.wasm"]);
    assert!(fs::read(layer.join("plugin.wasm")).unwrap() == fs::read(built_filter()).unwrap());
}

fn build(wasm: &Path, archive: &Path) {
    let tag = format!("keyfence-test:{}", std::process::id());
    run(Command::new(repository().join("envoy/plugin-image"))
        .arg(wasm)
        .arg(&tag)
        .arg(archive));
    run(Command::new("docker").args(["image", "rm", &tag]));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
