//! The five components of an External Client App, and the project that `sf` finds them in.
//!
//! Each is named after the app, with the suffix that Salesforce itself gives: a policy of another name would be a
//! second one, and an app has one.

use std::path::{Path, PathBuf};

use super::{app::App, xml::Document};

/// API version of the components: Spring '26, the first release that creates External Client Apps only. Older
/// versions of a component are understood by every later release.
const API_VERSION: &str = "66.0";

/// Where source stands in the project.
const SOURCE: &str = "force-app/main/default";

/// The form requires a callback URL; this flow never calls back.
pub(crate) const CALLBACK_URL: &str = "http://localhost:1717/OauthRedirect";

/// The scopes. No refresh token is ever issued by this flow, but without its scope Salesforce refuses the grant.
const SCOPES: &str = "Api, RefreshToken";

const PROJECT: &str = "\
{
  \"packageDirectories\": [{ \"path\": \"force-app\", \"default\": true }],
  \"namespace\": \"\",
  \"sourceApiVersion\": \"66.0\"
}
";

const GITIGNORE: &str = "\
# The global OAuth settings: what an org gives back for them holds the consumer secret.
force-app/main/default/extlClntAppGlobalOauthSets/
";

/// One file of the project, by its path in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A component: its type, where its source stands, and what it says.
struct Component {
    kind: &'static str,
    folder: &'static str,
    suffix: &'static str,
    name: String,
    text: String,
}

impl App {
    /// The project: every file that `sf project deploy start --manifest package.xml` needs, run in its folder.
    pub(crate) fn files(&self) -> Vec<SourceFile> {
        let components = self.components();
        let file = |path: &str, text: String| SourceFile {
            path: PathBuf::from(path),
            text,
        };
        let mut files = vec![
            file("sfdx-project.json", PROJECT.to_owned()),
            file("package.xml", manifest(&components)),
            file(".gitignore", GITIGNORE.to_owned()),
        ];
        files.extend(components.into_iter().map(|component| {
            SourceFile {
                path: Path::new(SOURCE)
                    .join(component.folder)
                    .join(format!("{}.{}-meta.xml", component.name, component.suffix)),
                text: component.text,
            }
        }));
        files
    }

    fn components(&self) -> [Component; 5] {
        let name = &self.name;
        [
            Component {
                kind: "ExternalClientApplication",
                folder: "externalClientApps",
                suffix: "eca",
                name: name.to_string(),
                text: self.application(),
            },
            Component {
                kind: "ExtlClntAppOauthSettings",
                folder: "extlClntAppOauthSettings",
                suffix: "ecaOauth",
                name: format!("{name}_oauth"),
                text: self.oauth_settings(),
            },
            Component {
                kind: "ExtlClntAppGlobalOauthSettings",
                folder: "extlClntAppGlobalOauthSets",
                suffix: "ecaGlblOauth",
                name: format!("{name}_glbloauth"),
                text: self.global_oauth_settings(),
            },
            Component {
                kind: "ExtlClntAppOauthConfigurablePolicies",
                folder: "extlClntAppOauthPolicies",
                suffix: "ecaOauthPlcy",
                name: format!("{name}_oauthPlcy"),
                text: self.oauth_policies(),
            },
            Component {
                kind: "ExtlClntAppConfigurablePolicies",
                folder: "extlClntAppPolicies",
                suffix: "ecaPlcy",
                name: format!("{name}_plcy"),
                text: self.policies(),
            },
        ]
    }

    fn application(&self) -> String {
        Document::new("ExternalClientApplication")
            .with("contactEmail", &self.contact_email.to_string())
            .with(
                "description",
                "Access tokens by the OAuth 2.0 JWT Bearer flow, for sfkey",
            )
            .with("distributionState", "Local")
            .switch("isProtected", false)
            .with("label", &self.label.to_string())
            .finish()
    }

    fn oauth_settings(&self) -> String {
        Document::new("ExtlClntAppOauthSettings")
            .with("commaSeparatedOauthScopes", SCOPES)
            .with("externalClientApplication", &self.name.to_string())
            .with("label", &self.label.to_string())
            .finish()
    }

    fn global_oauth_settings(&self) -> String {
        let document = Document::new("ExtlClntAppGlobalOauthSettings")
            .with("callbackUrl", CALLBACK_URL)
            .with("certificate", self.certificate.trim());
        let document = match &self.consumer_key {
            Some(key) => document.with("consumerKey", key),
            None => document,
        };
        document
            .with("externalClientApplication", &self.name.to_string())
            .switch("isClientCredentialsFlowEnabled", false)
            .switch("isCodeCredFlowEnabled", false)
            .switch("isConsumerSecretOptional", false)
            .switch("isDeviceFlowEnabled", false)
            .switch("isIntrospectAllTokens", false)
            .switch("isPkceRequired", false)
            .switch("isTokenExchangeEnabled", false)
            .with("label", &self.label.to_string())
            .switch("shouldRotateConsumerKey", false)
            .switch("shouldRotateConsumerSecret", false)
            .finish()
    }

    fn oauth_policies(&self) -> String {
        let sets: Vec<String> = self.permission_sets.iter().map(ToString::to_string).collect();
        let document = Document::new("ExtlClntAppOauthConfigurablePolicies")
            .with("commaSeparatedPermissionSet", &sets.join(", "))
            .with("externalClientApplication", &self.name.to_string())
            .with("ipRelaxationPolicyType", "Enforce")
            .switch("isClientCredentialsFlowEnabled", false)
            .switch("isGuestCodeCredFlowEnabled", false)
            .switch("isTokenExchangeFlowEnabled", false)
            .with("label", &self.label.to_string())
            .with("permittedUsersPolicyType", "AdminApprovedPreAuthorized")
            .with("refreshTokenPolicyType", "Infinite")
            .with("requiredSessionLevel", "STANDARD");
        match self.session_timeout_minutes {
            Some(minutes) => document.with("sessionTimeoutInMinutes", &minutes.to_string()),
            None => document,
        }
        .finish()
    }

    fn policies(&self) -> String {
        Document::new("ExtlClntAppConfigurablePolicies")
            .with("externalClientApplication", &self.name.to_string())
            .switch("isEnabled", true)
            .switch("isOauthPluginEnabled", true)
            .with("label", &self.label.to_string())
            .finish()
    }
}

fn manifest(components: &[Component]) -> String {
    let document = components
        .iter()
        .fold(Document::new("Package"), |document, component| {
            document.group("types", &[("members", &component.name), ("name", component.kind)])
        });
    document.with("version", API_VERSION).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> App {
        App {
            name: "sfkey_prod".parse().expect("a name"),
            label: "sfkey <prod> & more".parse().expect("a label"),
            contact_email: "o'neil@acme.com".parse().expect("an address"),
            certificate: "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n".to_owned(),
            consumer_key: None,
            permission_sets: vec![
                "Integration".parse().expect("a name"),
                "Api_Only".parse().expect("a name"),
            ],
            session_timeout_minutes: Some(120),
        }
    }

    fn text(app: &App, part: &str) -> String {
        let files = app.files();
        let file = files
            .iter()
            .find(|file| file.path.to_string_lossy().contains(part));
        file.expect(part).text.clone()
    }

    #[test]
    fn every_component_stands_in_its_folder_with_its_suffix() {
        let files = app().files();
        let paths: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
        assert_eq!(
            paths,
            [
                "sfdx-project.json",
                "package.xml",
                ".gitignore",
                "force-app/main/default/externalClientApps/sfkey_prod.eca-meta.xml",
                "force-app/main/default/extlClntAppOauthSettings/sfkey_prod_oauth.ecaOauth-meta.xml",
                "force-app/main/default/extlClntAppGlobalOauthSets/sfkey_prod_glbloauth.ecaGlblOauth-meta.xml",
                "force-app/main/default/extlClntAppOauthPolicies/sfkey_prod_oauthPlcy.ecaOauthPlcy-meta.xml",
                "force-app/main/default/extlClntAppPolicies/sfkey_prod_plcy.ecaPlcy-meta.xml",
            ]
        );
    }

    #[test]
    fn the_whole_certificate_is_in_the_global_settings_and_a_consumer_key_only_where_one_is_given() {
        let without = text(&app(), "ecaGlblOauth");
        assert!(
            without.contains(
                "<certificate>-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----</certificate>"
            ),
            "{without}"
        );
        assert!(!without.contains("consumerKey>"), "{without}");
        let with = text(
            &App {
                consumer_key: Some("3MVG9.x".to_owned()),
                ..app()
            },
            "ecaGlblOauth",
        );
        assert!(with.contains("<consumerKey>3MVG9.x</consumerKey>"), "{with}");
    }

    #[test]
    fn users_are_let_in_by_the_names_of_permission_sets() {
        let policies = text(&app(), "ecaOauthPlcy");
        assert!(
            policies
                .contains("<commaSeparatedPermissionSet>Integration, Api_Only</commaSeparatedPermissionSet>"),
            "{policies}"
        );
        assert!(
            policies.contains("<sessionTimeoutInMinutes>120</sessionTimeoutInMinutes>"),
            "{policies}"
        );
        let app = App {
            session_timeout_minutes: None,
            ..app()
        };
        assert!(!text(&app, "ecaOauthPlcy").contains("sessionTimeout"));
    }

    #[test]
    fn the_manifest_names_every_component() {
        let manifest = text(&app(), "package.xml");
        for component in app().components() {
            let named = format!(
                "<members>{}</members>\n        <name>{}</name>",
                component.name, component.kind
            );
            assert!(manifest.contains(&named), "{manifest}");
        }
        assert!(PROJECT.contains(API_VERSION) && manifest.contains(API_VERSION));
    }

    #[test]
    fn what_an_org_gives_back_with_secrets_is_kept_out_of_git() {
        let folder = "force-app/main/default/extlClntAppGlobalOauthSets/";
        assert!(text(&app(), ".gitignore").lines().any(|line| line == folder));
        let files = app().files();
        assert!(files.iter().any(|file| file.path.starts_with(folder)));
    }
}
