CREATE TABLE events (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, severity TEXT NOT NULL, source TEXT NOT NULL,
  detected_wall_ns INTEGER NOT NULL, detected TEXT NOT NULL, deadline TEXT, simulated INTEGER NOT NULL,
  state TEXT NOT NULL, event TEXT NOT NULL, report TEXT
) STRICT;
CREATE INDEX events_by_age ON events (detected_wall_ns);
CREATE INDEX events_running ON events (state) WHERE state = 'running';
CREATE TABLE deliveries (
  event_id TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
  instance TEXT NOT NULL, state TEXT NOT NULL, report TEXT, attempts INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (event_id, instance)
) STRICT, WITHOUT ROWID;
INSERT INTO events VALUES ('e', 'cloud.spot.interrupt', 'urgent', 's', 7, 'd', NULL, 0, 'running',
  '{"data":{"provider":"aws","instanceID":"i-9","instanceType":"m5.large","zone":"us-east-1b","region":"us-east-1"}}', NULL);
INSERT INTO deliveries VALUES ('e', 't/a', 'started', NULL, 2);
PRAGMA user_version = 2;
