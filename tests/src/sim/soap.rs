//! The SOAP API, as far as it shows what a token is worth there: `getUserInfo` for an opaque one, 500 for others.

use super::answer::Answer;
use super::ids::long_id;
use super::knobs::TokenFormat;
use super::log::Request;
use super::world::World;

/// Answers `POST /services/Soap/…`.
pub(super) fn soap(world: &World, request: &Request) -> Answer {
    let body = String::from_utf8_lossy(&request.body);
    let token = element(&body, "sessionId").unwrap_or_default();
    let mut state = world.state();
    let session = state.sessions.used(token, world.clock.now());
    let Some(session) = session.filter(|session| session.format == TokenFormat::Opaque) else {
        return fault("INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader");
    };
    if !body.contains("getUserInfo") {
        return fault("UNKNOWN_EXCEPTION", "the simulator knows getUserInfo only");
    }
    let user = state.users.iter().find(|user| user.username == session.username);
    let (id, name) = user
        .map(|user| (long_id(&user.id), user.name.clone()))
        .unwrap_or_default();
    envelope(
        200,
        &format!(
            "<getUserInfoResponse xmlns=\"urn:partner.soap.sforce.com\"><result><userId>{id}</userId>\
             <organizationId>{}</organizationId><userName>{}</userName><userFullName>{}</userFullName>\
             </result></getUserInfoResponse>",
            session.org_id,
            escaped(&session.username),
            escaped(&name),
        ),
    )
}

/// The text of the first element of this local name, whatever its prefix.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let opening = xml.find(&format!("{name}>"))?;
    let text = &xml[opening + name.len() + 1..];
    text.split('<').next().map(str::trim)
}

fn fault(code: &str, text: &str) -> Answer {
    envelope(
        500,
        &format!(
            "<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {text}</faultstring>\
             </soapenv:Fault>"
        ),
    )
}

fn envelope(status: u16, body: &str) -> Answer {
    Answer::xml(
        status,
        &format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
             xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:sf=\"urn:fault.partner.soap.sforce.com\"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
        ),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
