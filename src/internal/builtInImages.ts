/**
 * The images that ship with the library, from Firecracker's official sources.
 *
 * The reference implementation ships them without digests; these are the SHA-256 that public projects pin for them.
 */
const base = "https://s3.amazonaws.com/spec.ccfc.min/img"

export const builtInImages = {
  hello: {
    description: 'Minimal "hello world" image for testing, about 10 MB in all. For quick tests and examples.',
    architecture: "x86_64",
    kernel: {
      url: `${base}/hello/kernel/hello-vmlinux.bin`,
      sha256: "882fa465c43ab7d92e31bd4167da3ad6a82cb9230f9b0016176df597c6014cef"
    },
    rootfs: {
      url: `${base}/hello/fsfiles/hello-rootfs.ext4`,
      sha256: "786f0612582cadcee4c8ad46e30e4cc93dff9a3c0b4ede3f3c597b4c241dd547"
    }
  },
  "quickstart-x86_64": {
    description: "Ubuntu Bionic (18.04) for x86_64, about 100 MB in all. A general purpose Linux environment.",
    architecture: "x86_64",
    kernel: {
      url: `${base}/quickstart_guide/x86_64/kernels/vmlinux.bin`,
      sha256: "ea5e7d5cf494a8c4ba043259812fc018b44880d70bcbbfc4d57d2760631b1cd6"
    },
    rootfs: {
      url: `${base}/quickstart_guide/x86_64/rootfs/bionic.rootfs.ext4`,
      sha256: "2a840feeccb5cb161c6eab1ecd86667c06ed5e307da534d2d3c9e39a6ec6c30a"
    }
  }
}
