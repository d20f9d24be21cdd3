//! The token and access reviews of the fake API server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// The accounts by token, with the paths that each may get.
#[derive(Debug, Default)]
pub struct Reviews {
    accounts: BTreeMap<String, String>,
    /// The audience of a token; of one that is not here, the API server's own.
    audiences: BTreeMap<String, String>,
    allowed: BTreeSet<(String, String)>,
}

impl Reviews {
    /// Sets that `token` is of `account`, which may get `paths`.
    pub fn allow(&mut self, token: &str, account: &str, paths: &[&str]) {
        self.accounts.insert(token.to_owned(), account.to_owned());
        let allowed = paths.iter().map(|path| (account.to_owned(), (*path).to_owned()));
        self.allowed.extend(allowed);
    }

    /// Makes the token one for this audience only.
    pub fn bind(&mut self, token: &str, audience: &str) {
        self.audiences.insert(token.to_owned(), audience.to_owned());
    }

    /// Makes the token invalid.
    pub fn withdraw(&mut self, token: &str) {
        self.accounts.remove(token);
    }

    /// Returns the answer to a review that was posted to `path`; none if there is no such kind.
    pub(super) fn answer(&self, path: &str, review: &Value) -> Option<Value> {
        let status = match path {
            "/apis/authentication.k8s.io/v1/tokenreviews" => {
                let token = review["spec"]["token"].as_str().unwrap_or_default();
                let audience = self.audiences.get(token).map_or("https://kubernetes", String::as_str);
                let wanted = review["spec"]["audiences"].as_array();
                let is_for_them = wanted.map_or(audience == "https://kubernetes", |all| all.contains(&json!(audience)));
                match self.accounts.get(token).filter(|_| is_for_them) {
                    Some(account) => json!({ "authenticated": true, "audiences": [audience], "user": {
                        "username": account, "uid": format!("uid-of-{account}"), "groups": ["system:authenticated"],
                        "extra": { "authentication.kubernetes.io/pod-name": ["prometheus-0"] },
                    } }),
                    None => json!({ "user": {}, "error": "[invalid bearer token]" }),
                }
            }
            "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
                let wanted = &review["spec"]["nonResourceAttributes"];
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let asked = (text(&review["spec"]["user"]), text(&wanted["path"]));
                // As the role `system:discovery` allows every account.
                let is_discovery = asked.1.starts_with("/api/");
                json!({ "allowed": wanted["verb"] == "get" && (is_discovery || self.allowed.contains(&asked)) })
            }
            _ => return None,
        };
        let mut answer = review.clone();
        answer["status"] = status;
        Some(answer)
    }
}
