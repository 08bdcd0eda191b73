//! Metadata as XML: one root, elements below it, and nothing that could be taken for markup.

use std::fmt::Write as _;

/// The namespace of everything in the Metadata API.
const NAMESPACE: &str = "http://soap.sforce.com/2006/04/metadata";

/// A document in the making.
pub(super) struct Document {
    root: &'static str,
    text: String,
}

impl Document {
    /// One with this root element.
    pub(super) fn new(root: &'static str) -> Self {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">\n");
        Self { root, text }
    }

    /// With an element that holds a text.
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        self.line(4, name, value)
    }

    /// With an element that is true or false.
    pub(super) fn switch(self, name: &str, on: bool) -> Self {
        self.line(4, name, if on { "true" } else { "false" })
    }

    /// With an element that holds these elements.
    pub(super) fn group(mut self, name: &str, elements: &[(&str, &str)]) -> Self {
        self.push(&format!("    <{name}>\n"));
        for (element, value) in elements {
            self = self.line(8, element, value);
        }
        self.push(&format!("    </{name}>\n"));
        self
    }

    /// The finished text.
    pub(super) fn finish(mut self) -> String {
        let end = format!("</{}>\n", self.root);
        self.push(&end);
        self.text
    }

    fn line(mut self, indent: usize, name: &str, value: &str) -> Self {
        let value = escape(value);
        writeln!(self.text, "{:indent$}<{name}>{value}</{name}>", "")
            .expect("writing to a String cannot fail");
        self
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// `text` as character data.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_element_is_never_markup() {
        let document = Document::new("Root")
            .with("label", r#"</label><x a="b'c">&amp;"#)
            .switch("isEnabled", true)
            .group("types", &[("members", "A"), ("name", "T")]);
        assert_eq!(
            document.finish(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Root xmlns=\"http://soap.sforce.com/2006/04/metadata\">\n\
             \x20   <label>&lt;/label&gt;&lt;x a=&quot;b&apos;c&quot;&gt;&amp;amp;</label>\n\
             \x20   <isEnabled>true</isEnabled>\n\
             \x20   <types>\n        <members>A</members>\n        <name>T</name>\n    </types>\n\
             </Root>\n"
        );
    }
}
