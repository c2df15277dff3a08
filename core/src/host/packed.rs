//! An event as bytes, for another process of this very program on this machine.
//!
//! Inputs: an event. Outputs: bytes, and the same event again, to the nanosecond. Both ends are built from one source and
//! started together, so that there is no version; what is not understood gives no event. Must never allocate while
//! packing: it is done on the way to a handler.

use crate::event::{Event, EventId, EventType, Machine, Moment};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::Arc;
use uuid::Uuid;

/// Writes the event.
///
/// # Errors
/// It does not fit into what `out` takes.
pub fn pack(event: &Event, mut out: &mut dyn Write) -> io::Result<()> {
    out.write_all(event.id.0.as_bytes())?;
    moment(out, Some(event.detected))?;
    moment(out, event.effective)?;
    out.write_all(&[u8::from(event.simulated), u8::from(event.drill), u8::from(event.cancels.is_some())])?;
    out.write_all(event.cancels.unwrap_or(event.id).0.as_bytes())?;
    let machine = &event.machine;
    let texts = [
        event.event_type.as_str(),
        &event.source,
        event.severity.as_str(),
        &event.provider,
        event.action.as_str(),
        event.notice_kind.as_str(),
        &machine.instance_id,
        &machine.instance_type,
        &machine.zone,
        &machine.region,
    ];
    for text in texts {
        out.write_all(&u32::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes())?;
        out.write_all(text.as_bytes())?;
    }
    // JSON documents, each up to the end of its line.
    serde_json::to_writer(&mut out, &event.raw)?;
    out.write_all(b"\n")?;
    serde_json::to_writer(&mut out, &event.resources)?;
    out.write_all(b"\n")?;
    serde_json::to_writer(&mut out, &event.extra)?;
    Ok(())
}

fn moment(out: &mut dyn Write, moment: Option<Moment>) -> io::Result<()> {
    let Moment { boot_ns, wall_ns } = moment.unwrap_or(Moment { boot_ns: 0, wall_ns: 0 });
    out.write_all(&[u8::from(moment.is_some())])?;
    out.write_all(&boot_ns.to_le_bytes())?;
    out.write_all(&wall_ns.to_le_bytes())
}

/// Reads it back.
pub fn unpack(bytes: &[u8]) -> Option<Event> {
    let mut rest = Rest(bytes);
    let id = rest.id()?;
    let (detected, effective) = (rest.moment()??, rest.moment()?);
    let [simulated, drill, cancelled] = rest.take()?;
    let cancels = rest.id()?;
    let mut texts: [&str; 10] = [""; 10];
    for text in &mut texts {
        let length = u32::from_le_bytes(rest.take()?);
        *text = std::str::from_utf8(rest.slice(usize::try_from(length).ok()?)?).ok()?;
    }
    let [event_type, source, severity, provider, action, notice_kind, machine @ ..] = texts;
    let [instance_id, instance_type, zone, region] = machine.map(str::to_owned);
    let mut documents = rest.0.splitn(3, |byte| *byte == b'\n');
    let raw = documents.next()?;
    Some(Event {
        id,
        event_type: EventType::parse(event_type).ok()?,
        source: source.to_owned().into(),
        severity: word(severity)?,
        detected,
        effective,
        simulated: simulated != 0,
        drill: drill != 0,
        provider: provider.to_owned().into(),
        action: word(action)?,
        notice_kind: word(notice_kind)?,
        machine: Arc::new(Machine { instance_id, instance_type, zone, region }),
        raw: serde_json::from_slice(raw).ok()?,
        resources: serde_json::from_slice(documents.next()?).ok()?,
        extra: serde_json::from_slice(documents.next()?).ok()?,
        cancels: (cancelled != 0).then_some(cancels),
    })
}

fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(Value::from(text)).ok()
}

/// Bytes not read yet.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn slice(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn id(&mut self) -> Option<EventId> {
        Some(EventId(Uuid::from_bytes(self.take()?)))
    }

    fn moment(&mut self) -> Option<Option<Moment>> {
        let [known] = self.take()?;
        let moment = Moment { boot_ns: i64::from_le_bytes(self.take()?), wall_ns: i64::from_le_bytes(self.take()?) };
        Some((known != 0).then_some(moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn events() -> Vec<Event> {
        let now = Moment { boot_ns: 5_000_000_001, wall_ns: 1_767_323_045_250_000_001 };
        let json = json!({ "id": EventId::at(now.wall_ns).to_string(), "type": "cloud.spot.interrupt.cancelled",
            "severity": "urgent", "time": "2026-01-02T03:04:05Z", "source": "s",
            "data": { "action": "stop", "noticeKind": "deadline", "provider": "p", "time": "2026-01-02T03:06:05Z" } });
        let plain = Event::from_json(&json, now).expect("an event");
        let full = Event {
            detected: now,
            effective: Some(now.plus_ns(7)),
            simulated: true,
            drill: true,
            machine: Arc::new(Machine {
                instance_id: "i-1".into(),
                instance_type: "ä\n".into(),
                zone: "z".into(),
                region: "r".into(),
            }),
            resources: vec!["a\nb".into()],
            cancels: Some(EventId::at(1)),
            raw: Some(json!({"text": "two\nlines", "list": [1, null]})),
            extra: json!({"mine": {"deep": 1.5}}).as_object().cloned().unwrap_or_default(),
            ..plain.clone()
        };
        let text = Event { raw: Some(json!("plain text\n")), effective: None, ..plain.clone() };
        vec![plain, full, text]
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        for event in events() {
            let mut bytes = Vec::new();
            pack(&event, &mut bytes).expect("packed");
            assert_eq!(format!("{:?}", unpack(&bytes)), format!("{:?}", Some(event)));
        }
    }

    #[test]
    fn bytes_that_were_cut_are_no_event() {
        for event in events() {
            let mut bytes = Vec::new();
            pack(&event, &mut bytes).expect("packed");
            for length in 0..bytes.len() {
                assert!(unpack(&bytes[..length]).is_none(), "{length} of {} bytes", bytes.len());
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = unpack(&bytes);
        }
    }
}
