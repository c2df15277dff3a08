// What the daemon's user may do, and no more: these units, and the end of this machine.
polkit.addRule(function (action, subject) {
    if (subject.user != "cloudsnooze") {
        return polkit.Result.NOT_HANDLED;
    }
    if (action.id == "org.freedesktop.systemd1.manage-units") {
        var unit = action.lookup("unit");
        var mine = ["web.service", "sidecar.service", "stubborn.service", "db.service"];
        if (mine.indexOf(unit) >= 0 || unit.indexOf("worker@") == 0) {
            return polkit.Result.YES;
        }
    }
    var ends = ["power-off", "reboot", "halt", "hibernate"];
    for (var i = 0; i < ends.length; i++) {
        if (action.id.indexOf("org.freedesktop.login1." + ends[i]) == 0) {
            return polkit.Result.YES;
        }
    }
    return polkit.Result.NOT_HANDLED;
});
