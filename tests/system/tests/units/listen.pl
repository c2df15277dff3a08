# A server that accepts connections until it is told to end, and says which process it is.
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 7777, Listen => 5, ReuseAddr => 1) or die "$!";
open(my $file, ">", "/run/web.pid") or die "$!";
print $file "$$\n";
close($file);
while (my $client = $server->accept()) { close($client); }
