//! `[[listener]]`.

use super::*;

#[test]
fn listeners_are_checked() {
    assert!(parse("", Path::new("g")).unwrap_err().to_string().contains("without a [[listener]]"));
    says("[[listener]]\n", "3:1: listener[1].address: is missing");
    let two = "[[listener]]\naddress = \"[::]:80\"\n";
    says(&format!("{two}{two}"), "6:11: listener[2].address: [::]:80 was given in line 4 already");
    let mapped = two.replace("::", "::ffff:1.2.3.4");
    says(&format!("{mapped}{}", two.replace("[::]", "1.2.3.4")), "listener[2].address: 1.2.3.4:80 was given in line 4");
    says(&format!("{two}[admin]\naddress = \"[::]:80\""), "admin.address: [::]:80 was given in line 4");
    assert!(wrong(LISTENER).is_empty(), "port 0 may be given twice");
    says("tls = \"def\"", "takes \"dev\", not \"def\"; did you mean \"dev\"?");
    says("tls = []", "takes at least one");
    says("tls = [{ certificate = \"a\" }]", "listener[0].tls[0].key: is missing");
    says("tls = { certificates = \"dev\", minimum = \"1.1\" }", "takes \"1.2\" or \"1.3\"");
    says("tls = { certificates = \"dev\", client = { required = true } }", "client.ca: is missing");
    let client = "tls = { certificates = \"dev\", client = { ca = \"a\", subject_header = \"x\", san_header = ";
    says(&format!("{client}\"X\" }} }}"), "another part");
    says(&format!("{client}\"te\" }} }}"), "a meaning of its own");
    says("protocols = []", "at least one");
    says("protocols = [\"h3\"]", "takes \"h1\" or \"h2\"");
    says("proxy_protocol = [\"10.0.0.0/64\"]", "proxy_protocol[0]: takes a network");
}
