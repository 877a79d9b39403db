//! Embedded recipes: those that come inside the program, so that one file is enough to bootstrap a cluster.

use super::Sources;

/// Each file of `recipes/` that belongs to a recipe.
const FILES: &[(&str, &str)] = &[
    ("ansible.toml", include_str!("../../recipes/ansible.toml")),
    ("containerd.toml", include_str!("../../recipes/containerd.toml")),
    ("containerd-config.toml.j2", include_str!("../../recipes/containerd-config.toml.j2")),
    ("kubernetes.toml", include_str!("../../recipes/kubernetes.toml")),
    ("kubeadm-init.yaml.j2", include_str!("../../recipes/kubeadm-init.yaml.j2")),
    ("kubeadm-join.sh.j2", include_str!("../../recipes/kubeadm-join.sh.j2")),
    ("cni.conflist.j2", include_str!("../../recipes/cni.conflist.j2")),
    ("kubelet.service.j2", include_str!("../../recipes/kubelet.service.j2")),
    ("minio.toml", include_str!("../../recipes/minio.toml")),
    ("minio.yaml.j2", include_str!("../../recipes/minio.yaml.j2")),
    ("secret.sh.j2", include_str!("../../recipes/secret.sh.j2")),
    ("functions.toml", include_str!("../../recipes/functions.toml")),
    ("oscar.toml", include_str!("../../recipes/oscar.toml")),
    ("oscar.yaml.j2", include_str!("../../recipes/oscar.yaml.j2")),
    ("udocker.toml", include_str!("../../recipes/udocker.toml")),
    ("marea-udocker", include_str!("../../recipes/marea-udocker")),
    ("functions.yaml.j2", include_str!("../../recipes/functions.yaml.j2")),
];

/// The recipes inside this program.
pub fn sources() -> Sources {
    Sources(FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_recipe_reads() {
        let sources = sources();
        let mut read = 0;
        for name in sources.0.keys().filter_map(|f| f.strip_suffix(".toml")) {
            if let Err(findings) = sources.read(name) {
                panic!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
            }
            read += 1;
        }
        assert!(read >= 2);
    }
}
