# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_snooze_global_optspecs
    string join \n socket= config= json color= q/quiet h/help V/version
end

function __fish_snooze_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_snooze_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_snooze_using_subcommand
    set -l cmd (__fish_snooze_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c snooze -n "__fish_snooze_needs_command" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_needs_command" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_needs_command" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_needs_command" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_needs_command" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_needs_command" -s V -l version -d 'Print version'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "status" -d 'Show what the daemon watches, which handlers are ready, and what is wrong'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "plan" -d 'Show what would run for an event: order, priorities, and the time each handler gets'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "simulate" -d 'Make an event up and have the daemon handle it, as a rehearsal'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "drill" -d 'Rehearse for real what can be undone, check the rest, and put everything back'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "emit" -d 'Have the daemon handle a real event of your own: of a monitoring script, or of a notice from elsewhere'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "watch" -d 'Follow events, handlers and plugins\' messages as they happen'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "dashboard" -d 'Show where the dashboard is, for a browser'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "wait" -d 'Wait for an event, print it or run a command with it'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "apps" -d 'List the applications that are registered to be told of notices'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "events" -d 'List the events there were, newest first'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "fleet" -d 'Show the group of machines that this one belongs to'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "report" -d 'Show what became of an event: what ran, when, how long, what was verified, how much time was left'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "history" -d 'Show, move and shorten what is kept of events, deliveries, machines\' lives and prices'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "insight" -d 'Say what past interruptions mean: the risk now, rates of pools, lifetimes, patterns, pictures'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "plugin" -d 'List plugins, describe one, or try one'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "config" -d 'Check a configuration, or print its schema'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "reload" -d 'Have the daemon use the changed configuration, without a gap'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "upgrade-ready" -d 'Say whether the daemon may be upgraded or restarted now, and wait for it'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "advise" -d 'Say what to do about interruptions and prices: caps, types and zones, saves, schedules; and what was saved so far'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "simulate-policy" -d 'Replay policies for a job with a deadline on traces of spot availability, and say what each costs'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "doctor" -d 'Check configuration, plugins, secrets, daemon, cloud and machine, with a hint where something is not well'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "completions" -d 'Print the completion script for a shell'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "man" -d 'Write the manual pages into a directory'
complete -c snooze -n "__fish_snooze_needs_command" -f -a "mock-metadata" -d 'Play a cloud\'s instance metadata service, so that interruption notices can be rehearsed without a cloud'
complete -c snooze -n "__fish_snooze_using_subcommand status" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand status" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand status" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand status" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand status" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plan" -l left -d 'Time until the cloud acts (20s, 2m); may be given several times, one column each' -r
complete -c snooze -n "__fish_snooze_using_subcommand plan" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plan" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plan" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plan" -l offline -d 'Work from the configuration even when the daemon runs'
complete -c snooze -n "__fish_snooze_using_subcommand plan" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plan" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l in -d 'Time until the cloud would act (20s, 2m); without it, the notice names no time' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l severity -d 'How bad it is [default: what the type usually has]' -r -f -a "info\t''
warning\t''
urgent\t''
critical\t''"
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l action -d 'What the cloud would do [default: what the type usually has]' -r -f -a "terminate\t''
stop\t''
hibernate\t''
reboot\t''
redeploy\t''
freeze\t''
none\t''"
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l data -d 'A further member of the event\'s data; VALUE is JSON, or else text' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l cancels -d 'Withdraw the event with this id; EVENT_TYPE is then its type with .cancelled behind it' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l dry-run -d 'Show the plan for that time left and run nothing'
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l wait -d 'Follow the event to its end and show its report; exit code 1 unless all is handled'
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand drill" -l in -d 'Time until the cloud would act (20s, 2m)' -r
complete -c snooze -n "__fish_snooze_using_subcommand drill" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand drill" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand drill" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand drill" -l dry-run -d 'Show the plan for that time left and run nothing'
complete -c snooze -n "__fish_snooze_using_subcommand drill" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand drill" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand drill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l data -d 'A member of the event\'s data; VALUE is JSON, or else text' -r
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l data-json -d 'A JSON object whose members go into the event\'s data; - is standard input' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l severity -d 'How bad it is [default: what the type usually has; info for custom.*]' -r -f -a "info\t''
warning\t''
urgent\t''
critical\t''"
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l deadline -d 'Time until it happens (30s, 2m), which handlers share; without it, the time configured for the type' -r
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l action -d 'What happens then [default: what the type usually has; none for custom.*]' -r -f -a "terminate\t''
stop\t''
hibernate\t''
reboot\t''
redeploy\t''
freeze\t''
none\t''"
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l wait -d 'Follow the event to its end and show its report; exit code 1 unless all is handled'
complete -c snooze -n "__fish_snooze_using_subcommand emit" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand emit" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand emit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand watch" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand watch" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand watch" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand watch" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand watch" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand dashboard" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand dashboard" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand dashboard" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand dashboard" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand dashboard" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand dashboard" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand wait" -l timeout -d 'How long to wait (30s, 1h); then the exit code is 124 [default: for ever]' -r
complete -c snooze -n "__fish_snooze_using_subcommand wait" -l exec -d 'Run this command with the event instead of printing it; everything after --exec belongs to the command' -r
complete -c snooze -n "__fish_snooze_using_subcommand wait" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand wait" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand wait" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand wait" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand wait" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand apps" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand apps" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand apps" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand apps" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand apps" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand apps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand events" -l limit -d 'Most events to list' -r
complete -c snooze -n "__fish_snooze_using_subcommand events" -l type -d 'Only events of this type' -r
complete -c snooze -n "__fish_snooze_using_subcommand events" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand events" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand events" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand events" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand events" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "status" -d 'Say how this machine stands to its group'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "members" -d 'List who is in the group, as the servers have it'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "leader" -d 'Say who leads; exit code 1 where nobody is known to'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "plan" -d 'Show the operation that runs, or the last one'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "drill" -d 'Rehearse a departure of this machine with the whole group, in its order, and put everything back'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "events" -d 'List the newest events that the group made on this machine'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "collect" -d 'Bring all members\' histories into one, as they come'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and not __fish_seen_subcommand_from status members leader plan drill events collect server-config" -f -a "server-config" -d 'Print the configuration of a server of the group, for nats-server'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from status" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from status" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from status" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from status" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from members" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from members" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from members" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from members" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from members" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from members" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from leader" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from leader" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from leader" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from leader" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from leader" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from leader" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from plan" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from plan" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from plan" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from plan" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from plan" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from drill" -l in -d 'Time until the cloud would act (20s, 2m)' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from drill" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from drill" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from drill" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from drill" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from drill" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from drill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from events" -l limit -d 'Most events to list' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from events" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from events" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from events" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from events" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from events" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l store -d 'History to write to: a file, or postgres://USER@HOST/DATABASE; made where there is none' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l name -d 'Name by which the servers know how far it has read; another name begins with the oldest that is kept' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l nkey-file -d 'File with the NKey seed to connect with, in place of the member\'s' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l once -d 'End when all that is there has been taken'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from collect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l group -d 'The group' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l server -d 'Host name or IPv4 address of a server; an odd number of them' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l number -d 'Which of the servers, counted from 1' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l store -d 'Directory for what the servers keep' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l member -d 'A member that may lead, and its public NKey' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l follower -d 'A member that may not lead, and its public NKey' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l collector -d 'One who runs snooze fleet collect, by any name, and its public NKey' -r
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l tls-certificate -d 'Certificate of the server, PEM; with --tls-key' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l tls-key -d 'Its key' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand fleet; and __fish_seen_subcommand_from server-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand report" -l html -d 'Write one HTML file with a picture of who ran when, which needs nothing beside it; without FILE, or with `-`, to standard output' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand report" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand report" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand report" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand report" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand report" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "events" -d 'List events, the newest first'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "deliveries" -d 'List what became of handlers, the newest first'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "lives" -d 'List how long which machine lived, the one launched last first'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "prices" -d 'List what an hour cost, the newest first'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "summary" -d 'Show for each pool its events and the hours its machines were exposed'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "export" -d 'Write a history to a file: everything as JSON Lines, or one table as Parquet'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "import" -d 'Take rows from files: JSON Lines, Parquet, or public data sets in CSV'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "merge" -d 'Take everything from other histories, files or databases'
complete -c snooze -n "__fish_snooze_using_subcommand history; and not __fish_seen_subcommand_from events deliveries lives prices summary export import merge prune" -f -a "prune" -d 'Drop what is old or too much'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l type -d 'Only of this type; cloud.spot.* stands for all that begin so' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l instance -d 'Only of this machine' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l outcome -d 'Only where it stands so: running, completed, withdrawn, refused, interrupted' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l since -d 'Only from this time on' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l until -d 'Only before this time' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l limit -d 'Most rows' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l csv -d 'Print CSV, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l event -d 'Only of this event' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l handler -d 'Only of this handler, EVENT_TYPE/NAME' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l outcome -d 'Only those that ended so: handled, declined, failed, timed-out, abandoned, panicked, crashed, cancelled, not-run; or started' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l since -d 'Only from this time on' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l until -d 'Only before this time' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l limit -d 'Most rows' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l csv -d 'Print CSV, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from deliveries" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l instance -d 'Only of this machine' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l outcome -d 'Only those that ended so: running, interrupted, stopped' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l market -d 'Only of this market: spot, on-demand, unknown' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l provider -d 'Only of this provider (aws, azure, gcp, alibaba, tencent)' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l region -d 'Only in this region' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l zone -d 'Only in this zone' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l instance-type -d 'Only of this instance type' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l since -d 'Only from this time on' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l until -d 'Only before this time' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l limit -d 'Most rows' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l csv -d 'Print CSV, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from lives" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l market -d 'Only of this market: spot, on-demand' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l provider -d 'Only of this provider (aws, azure, gcp, alibaba, tencent)' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l region -d 'Only in this region' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l zone -d 'Only in this zone' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l instance-type -d 'Only of this instance type' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l since -d 'Only from this time on' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l until -d 'Only before this time' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l limit -d 'Most rows' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l csv -d 'Print CSV, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prices" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l provider -d 'Only of this provider (aws, azure, gcp, alibaba, tencent)' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l region -d 'Only in this region' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l zone -d 'Only in this zone' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l instance-type -d 'Only of this instance type' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l limit -d 'Most rows' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l csv -d 'Print CSV, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from summary" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -l table -d 'Table to write as Parquet: events, deliveries, lives, prices' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from import" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from import" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from import" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from import" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from import" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from merge" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from merge" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from merge" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from merge" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from merge" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from merge" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from merge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -l older-than -d 'Drop what is older (400d); events that still run and lives that go on stay' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -l keep-rows -d 'Keep so many events, so many lives and so many prices, the newest' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand history; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "risk" -d 'Say how likely a machine is interrupted within the next hours: this one, or one of a pool'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "rates" -d 'Say how often machines of each pool are interrupted, drawn to what their family and region have in common'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "lifetimes" -d 'Say how long machines live: Kaplan-Meier, Weibull, bathtub, and what makes lives shorter (Cox)'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "seasons" -d 'Say whether interruptions go by the hour of the day or the day of the week, with ages and batches taken into account'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "changes" -d 'Say when the rate of interruptions became another'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "pools" -d 'Say whether machines of a batch end together (by lives) and which pools have capacity together (by traces)'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "lead-time" -d 'Say how long before an interruption the recommendation to leave comes, and how often none does'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "models" -d 'Say which model would have foreseen these interruptions best: fitted to the first half of the time, scored on the second'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and not __fish_seen_subcommand_from risk rates lifetimes seasons changes pools lead-time models picture" -f -a "picture" -d 'Draw what was found, as SVG or PNG'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l hours -d 'How far to look ahead, hours' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l instance -d 'Which machine of the history [default: the one that runs and was seen last]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l zone -d 'Ask about a machine in this zone, not one of the history' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l instance-type -d 'Its type' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l provider -d 'Its provider [default: by the form of the zone\'s name]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l region -d 'Its region [default: by the form of the zone\'s name]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l age-hours -d 'How long it has lived, hours' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l in-background -d 'Use only CPU time that nobody else wants, and give up the protection that a daemon passes on for when memory is short'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from risk" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from rates" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l until-hours -d 'Look at machines until this age only, in hours [default: 23 where all machines are of GCP and none lives longer than 25, as GCP ends its preemptible machines at 24; else no limit]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lifetimes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l until-hours -d 'Look at machines until this age only, in hours [default: 23 where all machines are of GCP and none lives longer than 25, as GCP ends its preemptible machines at 24; else no limit]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l utc-offset-hours -d 'Added to UTC, hours' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from seasons" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from changes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l traces -d 'Traces of availability, one a zone, named like it, all from the same moment on: JSON as `snooze simulate-policy` takes it' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l until-hours -d 'Look at machines until this age only, in hours [default: 23 where all machines are of GCP and none lives longer than 25, as GCP ends its preemptible machines at 24; else no limit]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from pools" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from lead-time" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l until-hours -d 'Look at machines until this age only, in hours [default: 23 where all machines are of GCP and none lives longer than 25, as GCP ends its preemptible machines at 24; else no limit]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from models" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -s o -l output -d 'File to write; its ending, .svg or .png, says in which form' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l until-hours -d 'Look at machines until this age only, in hours [default: 23 where all machines are of GCP and none lives longer than 25, as GCP ends its preemptible machines at 24; else no limit]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l store -d 'History to work with: a file, or postgres://USER@HOST/DATABASE [default: history.sqlite in the configuration\'s state_directory]' -r
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l lives -d 'Lives in a file in place of a history: CSV with zone, machine_type, launch_utc, lifetime_s, event (1: interrupted), batch' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l fresh -d 'Work the answer out anew, even where one of the same history was kept that is younger than a day'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand insight; and __fish_seen_subcommand_from picture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -f -a "list" -d 'List every plugin that can be found, with the reason where one is refused'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -f -a "info" -d 'Say what a plugin is and which settings it takes'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -f -a "load-test" -d 'Load a plugin, make an instance of it and put it away again; it gets no event'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -f -a "release" -d 'Let a plugin be loaded again that ended the daemon: at the next reload or start'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -f -a "verify" -d 'Find out what a plugin does to its host, before it runs in the daemon'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and not __fish_seen_subcommand_from list info load-test release verify verify-child" -f -a "verify-child" -d 'The process of one test. Started by `verify`'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from list" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from list" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from list" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from info" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from info" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from info" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from info" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from info" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from load-test" -l config-file -d 'Its settings: a JSON file with what would stand under "config"; left out: {}' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from load-test" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from load-test" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from load-test" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from load-test" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from load-test" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from load-test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from release" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from release" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from release" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from release" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from release" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l config-file -d 'Its settings: a JSON file with what would stand under "config"; left out: {}' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l junit -d 'Write the result as JUnit XML too, for a build server' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l seed -d 'What chance begins with; the same seed makes the same calls' -r
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l only -d 'Only these tests, or all of a group (static, load, life, delivery, cancel, realtime, robust)' -r
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l in-process -d 'Run every test in this process: for a debugger. A crash ends everything'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l list -d 'List the tests and what each expects'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify-child" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify-child" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify-child" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify-child" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify-child" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand plugin; and __fish_seen_subcommand_from verify-child" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -f -a "check" -d 'Say everything that is wrong or doubtful: form, meaning, plugins, their settings, secrets'
complete -c snooze -n "__fish_snooze_using_subcommand config; and not __fish_seen_subcommand_from check schema" -f -a "schema" -d 'Print the JSON Schema of the configuration'
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -l conf-d -d 'Directory of further files that count after the main one' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -l files-only -d 'Check the files only, not whether plugins and secrets are on this machine'
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from schema" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from schema" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from schema" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from schema" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from schema" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand reload" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand reload" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand reload" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand reload" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand reload" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand upgrade-ready" -l wait -d 'How long to wait for the events in progress (180s, 3m) [default: not at all]' -r
complete -c snooze -n "__fish_snooze_using_subcommand upgrade-ready" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand upgrade-ready" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand upgrade-ready" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand upgrade-ready" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand upgrade-ready" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand upgrade-ready" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -f -a "cap" -d 'Say whether to set a maximum price for spot machines'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -f -a "rank" -d 'Rank instance types and zones by what an hour of work costs there, and choose a set that is not taken all at once'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -f -a "checkpoint" -d 'Say how often to save, and whether to save at the notice, on the clock, or both'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -f -a "schedule" -d 'Say when to start, where, and on what, so that a job is over in time for the least money'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -f -a "savings" -d 'Say what spot machines have saved against machines on demand, interruptions included'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -f -a "auction" -d 'Work out a bid, for providers that hold a true auction (AWS, Azure and GCP do not: see `snooze advise cap`)'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and not __fish_seen_subcommand_from cap rank checkpoint schedule savings auction fetch-prices" -f -a "fetch-prices" -d 'Fetch spot prices over time from the provider, into a file for --prices'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l prices -d 'Spot prices over time: CSV with zone or az, instance_type, timestamp_utc, usd_per_hour, and on_demand_usd_per_hour if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l advisor -d 'A snapshot of the AWS Spot Advisor: CSV with region, os, instance_type, savings_pct, interruption_bucket (0-4)' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l lives -d 'Lives of machines: CSV with zone, instance_type, lived_hours (or lifetime_s), outcome (or event), and prices if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l traces -d 'Traces of availability, one a zone: JSON as `snooze simulate-policy` takes it' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l machines -d 'Machines that are needed at once: a tick of a trace counts when there are so many' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l on-demand -d 'The price on demand of a type, in all regions that the files have; may be given several times' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from cap" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l prices -d 'Spot prices over time: CSV with zone or az, instance_type, timestamp_utc, usd_per_hour, and on_demand_usd_per_hour if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l advisor -d 'A snapshot of the AWS Spot Advisor: CSV with region, os, instance_type, savings_pct, interruption_bucket (0-4)' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l lives -d 'Lives of machines: CSV with zone, instance_type, lived_hours (or lifetime_s), outcome (or event), and prices if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l traces -d 'Traces of availability, one a zone: JSON as `snooze simulate-policy` takes it' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l machines -d 'Machines that are needed at once: a tick of a trace counts when there are so many' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l on-demand -d 'The price on demand of a type, in all regions that the files have; may be given several times' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l region -d 'Only this region' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l type -d 'Only types that begin like this; may be given several times' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l save -d 'How long a save takes' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l restart -d 'From an interruption until the work goes on' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l pools -d 'Pools to choose' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l limit -d 'Most rows to show' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from rank" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l prices -d 'Spot prices over time: CSV with zone or az, instance_type, timestamp_utc, usd_per_hour, and on_demand_usd_per_hour if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l advisor -d 'A snapshot of the AWS Spot Advisor: CSV with region, os, instance_type, savings_pct, interruption_bucket (0-4)' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l lives -d 'Lives of machines: CSV with zone, instance_type, lived_hours (or lifetime_s), outcome (or event), and prices if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l traces -d 'Traces of availability, one a zone: JSON as `snooze simulate-policy` takes it' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l machines -d 'Machines that are needed at once: a tick of a trace counts when there are so many' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l on-demand -d 'The price on demand of a type, in all regions that the files have; may be given several times' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l save -d 'How long a save took; give every one that was measured' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l notice -d 'How long before its end a machine is told (AWS 120s, Azure and GCP 30s)' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l restart -d 'From an interruption until the work goes on' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l between -d 'Mean time between interruptions, where there are no lives: hours that machines ran over interruptions' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l work-hours -d 'How long the job is' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l age-hours -d 'Age of the machine that the job starts on' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l wall-hours -d 'Age at which every machine ends (GCP preemptible VMs: 24) [default: none does]' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l seed -d 'Seed of the replay' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from checkpoint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l prices -d 'Spot prices over time: CSV with zone or az, instance_type, timestamp_utc, usd_per_hour, and on_demand_usd_per_hour if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l advisor -d 'A snapshot of the AWS Spot Advisor: CSV with region, os, instance_type, savings_pct, interruption_bucket (0-4)' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l lives -d 'Lives of machines: CSV with zone, instance_type, lived_hours (or lifetime_s), outcome (or event), and prices if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l traces -d 'Traces of availability, one a zone: JSON as `snooze simulate-policy` takes it' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l machines -d 'Machines that are needed at once: a tick of a trace counts when there are so many' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l on-demand -d 'The price on demand of a type, in all regions that the files have; may be given several times' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l work-hours -d 'Work, in hours on a machine that is never taken away' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l deadline-hours -d 'Until when it has to be over, in hours from its start' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l changeover -d 'From the start of a machine until the work goes on' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l checkpoint-every -d 'Time between checkpoints: an interruption loses the work since the last one [default: nothing is lost]' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l on-demand-price -d 'Price on demand, US dollars an hour' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l spot-price -d 'Spot price where a trace has none, US dollars an hour' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l age-hours -d 'Age of a spot machine that runs already and could be used; with --lives' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from schedule" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l prices -d 'Spot prices over time: CSV with zone or az, instance_type, timestamp_utc, usd_per_hour, and on_demand_usd_per_hour if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l advisor -d 'A snapshot of the AWS Spot Advisor: CSV with region, os, instance_type, savings_pct, interruption_bucket (0-4)' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l lives -d 'Lives of machines: CSV with zone, instance_type, lived_hours (or lifetime_s), outcome (or event), and prices if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l traces -d 'Traces of availability, one a zone: JSON as `snooze simulate-policy` takes it' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l machines -d 'Machines that are needed at once: a tick of a trace counts when there are so many' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l on-demand -d 'The price on demand of a type, in all regions that the files have; may be given several times' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l lost -d 'What an interruption costs: half the time between saves, and the restart' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from savings" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l prices -d 'Spot prices over time: CSV with zone or az, instance_type, timestamp_utc, usd_per_hour, and on_demand_usd_per_hour if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l advisor -d 'A snapshot of the AWS Spot Advisor: CSV with region, os, instance_type, savings_pct, interruption_bucket (0-4)' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l lives -d 'Lives of machines: CSV with zone, instance_type, lived_hours (or lifetime_s), outcome (or event), and prices if known' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l traces -d 'Traces of availability, one a zone: JSON as `snooze simulate-policy` takes it' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l machines -d 'Machines that are needed at once: a tick of a trace counts when there are so many' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l on-demand -d 'The price on demand of a type, in all regions that the files have; may be given several times' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l type -d 'The instance type to bid for [default: the one there are prices of]' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l zone -d 'The zone to bid in [default: the one there are prices of]' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l work-hours -d 'Work, in hours' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l recovery -d 'What an interruption costs: restart and work that is lost' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l slot -d 'How long a price holds' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from auction" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l provider -d 'The provider' -r -f -a "aws\t''"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l region -d 'The region' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l type -d 'Only this instance type; may be given several times [default: all]' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l days -d 'How far back; the provider keeps 90 days' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l product -d 'What runs on the machines, as the provider names it' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l output -d 'The file to write' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l endpoint -d 'Another address than the provider\'s: of a private endpoint' -r
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand advise; and __fish_seen_subcommand_from fetch-prices" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l machines -d 'Machines that the job needs at once, all or none: a tick counts when there are so many. Costs are of one machine' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l policy -d 'A policy to replay; may be given several times [default: on-demand, greedy, uniform-progress, advised]' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l zones -d 'Where the job may run: in each zone alone, in the best of the training part alone, in all of them' -r -f -a "each\t'In each zone alone; the figures are of all of them'
best\t'In the zone that had most capacity in the training part'
all\t'In any zone, from tick to tick'"
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l work-hours -d 'Work, in hours on a machine that is never taken away' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l deadline-hours -d 'Until when it has to be over, in hours from its start' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l changeover -d 'From the start of a machine until the work goes on' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l checkpoint-every -d 'Time between checkpoints: an interruption loses the work since the last one [default: nothing is lost]' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l on-demand-price -d 'Price on demand, US dollars an hour' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l spot-price -d 'Spot price where a trace has none, US dollars an hour' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l starts -d 'Ticks at which runs begin: a file with a JSON list, or numbers' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l runs -d 'How many runs to draw, for each zone alone, or for all' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l seed -d 'Seed of what is drawn' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l train -d 'Part of the traces to learn from: runs begin behind it [default: 0; with --zones best 0.6]' -r
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l each-run -d 'With --json: every run, not only the sums'
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand simulate-policy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand doctor" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand doctor" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand doctor" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand doctor" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand doctor" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand completions" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand completions" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand completions" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand completions" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand completions" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand man" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand man" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand man" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand man" -l json -d 'Print JSON, for programs'
complete -c snooze -n "__fish_snooze_using_subcommand man" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l listen -d 'Address and port to listen on; port 0 takes a free one' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l provider -d 'Whose service to play [default: the script\'s, or aws]' -r -f -a "aws\t'Amazon EC2, at 169.254.169.254 in reality'
azure\t'Microsoft Azure, at 169.254.169.254 in reality'
gcp\t'Google Compute Engine, at metadata.google.internal in reality'
alibaba\t'Alibaba Cloud ECS, at 100.100.100.200 in reality'
tencent\t'Tencent Cloud CVM, at metadata.tencentyun.com in reality'"
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l scenario -d 'Play one of the built-in stories; --list shows them' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l speed -d 'Tell the story of the scenario or script so many times as fast: steps come sooner, deadlines lie nearer' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l script -d 'JSON file that says whose service and which instance to play and what happens when' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l instance-id -d 'Instance id to serve, instead of the script\'s' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l instance-type -d 'Instance type to serve, instead of the script\'s' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l name -d 'Name of the machine to serve, instead of the script\'s (Azure, GCP)' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l zone -d 'Availability zone to serve, instead of the script\'s; the region follows from it, except on Azure' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l notice-in -d 'Have a spot notice appear this long after the start' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l action -d 'What the notice says will happen; only AWS says it' -r -f -a "terminate\t'Terminated two minutes after the notice'
stop\t'Stopped two minutes after the notice'
hibernate\t'Hibernated at once'"
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l warning -d 'How long before the action the notice appears; left out, as the cloud does it (AWS 2m, none for hibernate; Azure 30s; Alibaba 5m; Tencent 2m; GCP tells no time)' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l rebalance-in -d 'Have a rebalance recommendation appear this long after the start (AWS, Azure)' -r
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l tokens -d 'Whether requests without a token are refused (AWS, Alibaba) [default: required on AWS, optional elsewhere]' -r -f -a "required\t'Requests without a token are 401'
optional\t'Requests without a token are served'"
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l socket -d 'Socket of the daemon [default: $SNOOZE_SOCKET, or control.socket of the configuration]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l config -d 'Configuration to work with [default: /etc/cloudsnooze/cloudsnooze.json]' -r -F
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l color -d 'When to use colours; the words say everything without them' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l list -d 'Print the built-in stories and end; with --provider only its own'
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l no-control -d 'Do not serve /_control/: only the script and these arguments decide what happens'
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -l json -d 'Print one JSON object a line instead of text'
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -s q -l quiet -d 'Print nothing but results and errors'
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c snooze -n "__fish_snooze_using_subcommand mock-metadata" -s V -l version -d 'Print version'
