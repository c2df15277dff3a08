"""How a plugin object gets its configuration, and what it says of itself."""

import unittest

import plugin_process  # noqa: F401  (puts the package on the path)

from cloudsnooze import author
from cloudsnooze.author import ConfigError


class WithAttributes:
    retries = 3

    def __init__(self):
        self.endpoint = "http://localhost"
        self.enabled = True
        self.paths = []
        self.token = None
        self._private = "kept"

    def handle_event(self, event):
        return {"handled": True}


class WithConfig:
    def __init__(self, config):
        self.endpoint = config["endpoint"]

    def handle_event(self, event):
        return {"handled": True}


class WithParameters:
    def __init__(self, endpoint, timeout_seconds=30, *, strict=False):
        self.got = (endpoint, timeout_seconds, strict)
        self.label = ""

    def handle_event(self, event):
        return {"handled": True}


class WithKeywords:
    def __init__(self, endpoint="", **rest):
        self.got = (endpoint, rest)

    def handle_event(self, event):
        return {"handled": True}


class Building(unittest.TestCase):
    def test_attributes_take_the_keys_of_their_names(self):
        config = {"endpoint": "http://app", "enabled": False, "retries": 1.5, "paths": ["/a"], "token": "s3cret"}
        plugin, unknown = author.build(WithAttributes, config)
        got = {key: getattr(plugin, key) for key in config}
        self.assertEqual((got, unknown), (config, []))

    def test_methods_private_names_and_unknown_keys_are_out_of_reach(self):
        config = {"handle_event": "x", "_private": "x", "version": "9", "endpiont": "x", "__class__": "x"}
        plugin, unknown = author.build(WithAttributes, config)
        self.assertEqual(sorted(unknown), sorted(config))
        self.assertEqual((plugin._private, plugin.handle_event({})), ("kept", {"handled": True}))

    def test_a_value_of_another_type_is_refused_without_naming_it(self):
        wrong = ({"enabled": "s3cret"}, {"endpoint": 7}, {"paths": {}}, {"retries": True}, {"enabled": 1})
        for config in wrong:
            with self.assertRaises(ConfigError) as caught:
                author.build(WithAttributes, config)
            self.assertIn(next(iter(config)), str(caught.exception))
            self.assertNotIn("s3cret", str(caught.exception))

    def test_a_parameter_named_config_gets_everything(self):
        plugin, unknown = author.build(WithConfig, {"endpoint": "e", "more": 1})
        self.assertEqual((plugin.endpoint, unknown), ("e", []))

    def test_a_constructor_that_fails_refuses_the_configuration(self):
        with self.assertRaisesRegex(ConfigError, "KeyError: 'endpoint'"):
            author.build(WithConfig, {})

    def test_parameters_take_the_keys_of_their_names_and_attributes_the_rest(self):
        plugin, unknown = author.build(WithParameters, {"endpoint": "e", "strict": True, "label": "l", "other": 1})
        self.assertEqual((plugin.got, plugin.label, unknown), (("e", 30, True), "l", ["other"]))

    def test_a_missing_required_parameter_is_named(self):
        with self.assertRaisesRegex(ConfigError, "lacks endpoint"):
            author.build(WithParameters, {"strict": True})

    def test_keyword_arguments_get_the_rest(self):
        plugin, unknown = author.build(WithKeywords, {"endpoint": "e", "x": 1})
        self.assertEqual((plugin.got, unknown), (("e", {"x": 1}), []))

    def test_an_object_is_taken_as_it_is_and_its_attributes_are_set(self):
        mine = WithAttributes()
        plugin, _ = author.build(mine, {"endpoint": "http://app"})
        self.assertIs(plugin, mine)
        self.assertEqual(mine.endpoint, "http://app")

    def test_a_class_without_handle_event_is_refused(self):
        with self.assertRaisesRegex(TypeError, "handle_event"):
            author.check_target(dict)


class Describing(unittest.TestCase):
    def test_a_schema_is_made_of_attributes_and_carries_no_values(self):
        schema = author.config_schema(WithAttributes)
        self.assertEqual(
            schema["properties"],
            {
                "enabled": {"type": "boolean"},
                "endpoint": {"type": "string"},
                "paths": {"type": "array"},
                "retries": {"type": "number"},
                "token": {},
            },
        )

    def test_what_a_class_says_it_can_do_is_no_setting(self):
        class Undoer:
            undo = True
            drill = True
            grace = 3

            def handle_event(self, event):
                return {"handled": True}

        self.assertEqual(author.config_schema(Undoer)["properties"], {"grace": {"type": "number"}})
        self.assertEqual(author.build(Undoer, {"undo": False})[1], ["undo"])

    def test_a_schema_names_required_parameters(self):
        schema = author.config_schema(WithParameters)
        self.assertEqual(schema["required"], ["endpoint"])
        self.assertEqual(schema["properties"]["strict"], {"type": "boolean"})

    def test_a_class_that_reads_a_config_object_has_an_open_schema(self):
        self.assertEqual(author.config_schema(WithConfig), {"type": "object"})

    def test_facts_come_from_attributes_and_have_defaults(self):
        class Full(WithAttributes):
            name = "full"
            version = "2.1"
            subscriptions = "cloud.*"

            def verify(self, event, result):
                return True

        facts = author.facts(Full())
        self.assertEqual((facts.name, facts.version, facts.subscriptions), ("full", "2.1", ["cloud.*"]))
        self.assertTrue(facts.can_verify)
        plain = author.facts(WithAttributes())
        self.assertEqual((plain.name, plain.version, plain.subscriptions), (None, "0.0.0", []))
        self.assertFalse(plain.can_verify)

    def test_an_exception_that_cannot_be_printed_is_described_all_the_same(self):
        class Unprintable(Exception):
            def __str__(self):
                raise RuntimeError

        self.assertEqual(author.describe(Unprintable()), "Unprintable")


if __name__ == "__main__":
    unittest.main()
