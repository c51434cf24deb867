'use strict';

exports.greet = function (name) {
  return 'Hello, ' + name + '!';
};
