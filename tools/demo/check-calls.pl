#!/usr/bin/perl
# check-calls.pl js|py FILE...: whether every call of greet() in the files has the form that the vendored
# libgreet wants. For machines without the language itself.
use strict;
use warnings;

my ($language, @files) = @ARGV;
my $manifest = $language eq 'js' ? 'vendor/libgreet/package.json' : 'vendor/libgreet/__init__.py';
open my $vendored, '<', $manifest or die "$manifest: $!\n";
my $text = join '', <$vendored>;
my ($major) = $text =~ /version(?:__)?"?\s*[:=]\s*"(\d+)\./ or die "$manifest: no version\n";
my $by_name = $language eq 'js' ? qr/\(\s*\{\s*name\s*:/ : qr/\(\s*name\s*=/;
my ($calls, $wrong) = (0, 0);
for my $file (@files) {
  open my $in, '<', $file or die "$file: $!\n";
  while (my $line = <$in>) {
    while ($line =~ /(?<![\w.])greet(?=\()/g) {
      $calls++;
      my $named = substr($line, $+[0]) =~ /^$by_name/ ? 1 : 0;
      next if $named == ($major >= 2 ? 1 : 0);
      print STDERR "$file:$.: not a call of libgreet $major: $line";
      $wrong++;
    }
  }
}
print "$calls calls of libgreet $major, $wrong wrong\n";
exit($wrong || !$calls ? 1 : 0);
